import { TrineError } from "@trine/base";
import { nameOf } from "./pod-records.ts";
import type { PodRecord } from "./pod-records.ts";
import type { PodView } from "./pod-view.ts";
import { pickPod } from "./select-pods.ts";
import { parseSelector } from "./selector.ts";

/** A pod as this node has it: in the runtime, in the records, or both. */
export interface Target {
  readonly view?: PodView;
  readonly record?: PodRecord;
}

/** Names of the pods that a selector finds; kind `notFound` when there is none. */
export function selectNames(
  views: readonly PodView[],
  records: readonly PodRecord[],
  selector: string,
): string[] {
  const matches = parseSelector(selector);
  const names = [
    ...views.filter(({ labels }) => matches(labels)).map(nameOfView),
    ...records.filter(({ pod }) => matches(pod.metadata.labels)).map(({ pod }) => nameOf(pod)),
  ];
  if (names.length > 0) return names;
  throw new TrineError("notFound", `no pod has ${selector}; \`trine ps\` lists them`);
}

/** The newest state of both: an earlier item of the same call may have changed nothing here. */
export function targetOf(
  views: readonly PodView[],
  records: readonly PodRecord[],
  name: string,
): Target {
  const record = findRecord(records, name);
  if (record === undefined) {
    const view = pickPod(views, name);
    const own = records.find(({ uid }) => uid === view.uid);
    return { view, ...(own === undefined ? {} : { record: own }) };
  }
  const view = views.find(({ uid }) => uid === record.uid);
  return { record, ...(view === undefined ? {} : { view }) };
}

/** Of a name that means no pod, or several, none: who acts on it tells. */
export function targetOrNone(...args: Parameters<typeof targetOf>): Target[] {
  try {
    return [targetOf(...args)];
  } catch (cause) {
    if (cause instanceof TrineError) return [];
    throw cause;
  }
}

function findRecord(records: readonly PodRecord[], name: string): PodRecord | undefined {
  const found = records.filter(({ pod }) => pod.metadata.name === name || nameOf(pod) === name);
  if (found.length < 2) return found[0];
  const names = found.map(({ pod }) => nameOf(pod)).join(", ");
  throw new TrineError("conflict", `${name} is not one pod but ${names}`);
}

export function nameOfView(view: PodView | undefined): string {
  return `${view?.namespace ?? ""}/${view?.name ?? ""}`;
}
