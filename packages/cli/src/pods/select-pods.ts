import { TrineError, kindOf, quote } from "@trine/base";
import type { CriClient } from "@trine/containerd-client";
import { EXIT_CODES } from "../io.ts";
import type { Io } from "../io.ts";
import { listPodViews } from "./pod-view.ts";
import type { ContainerView, PodView } from "./pod-view.ts";
import { parseSelector } from "./selector.ts";
import { reportError } from "../output/report-error.ts";

const MAX_ID_LENGTH = 64;

export interface Selection {
  readonly selector?: string;
  readonly namespace?: string;
}

/** Pods by selector and namespace. */
export async function selectPods(
  cri: CriClient,
  { selector, namespace }: Selection,
  signal: AbortSignal,
): Promise<PodView[]> {
  const matches = selector === undefined ? () => true : parseSelector(selector);
  const views = await listPodViews(cri, signal);
  return views.filter(
    (view) => matches(view.labels) && (namespace === undefined || view.namespace === namespace),
  );
}

/**
 * The pod named NAME, NAMESPACE/NAME, or by a unique start of its sandbox's or a container's id. Kind
 * `notFound` or `conflict`.
 */
export function pickPod(views: readonly PodView[], name: string): PodView {
  if (name === "") throw new TrineError("invalid", "a pod's name is empty");
  const exact = views.filter((v) => v.name === name || `${v.namespace}/${v.name}` === name);
  const found = exact.length > 0 ? exact : views.filter((view) => hasId(view, name));
  const [view, second] = found;
  if (view === undefined) {
    const what = `no pod ${quote(name).slice(1, -1)} on this node`;
    throw new TrineError("notFound", `${what}; \`trine ps\` lists them`);
  }
  if (second !== undefined) {
    const names = found.map((p) => `${p.namespace}/${p.name} (${p.sandboxId.slice(0, 12)})`);
    throw new TrineError("conflict", `${name} is not one pod but ${names.join(", ")}`);
  }
  return view;
}

export async function findPod(cri: CriClient, name: string, signal: AbortSignal): Promise<PodView> {
  return pickPod(await listPodViews(cri, signal), name);
}

/** The container named so; without a name the only one, or the first that runs. */
export function pickContainer(view: PodView, name: string | undefined): ContainerView {
  const names = view.containers.map((each) => each.name).join(", ") || "none";
  if (name !== undefined) {
    const named = view.containers.find((each) => each.name === name);
    if (named !== undefined) return named;
    const what = `pod ${view.name} has no container ${quote(name)}; there are ${names}`;
    throw new TrineError("notFound", what);
  }
  const chosen = view.containers.find(({ state }) => state === "running") ?? view.containers[0];
  if (chosen !== undefined) return chosen;
  throw new TrineError("wrongState", `pod ${view.name} has no container; \`trine why\` tells more`);
}

/** As `pickContainer`, but it has to run. */
export function pickRunning(view: PodView, name: string | undefined): ContainerView {
  const container = pickContainer(view, name);
  if (container.state === "running") return container;
  const what = `container ${container.name} of pod ${view.name} is not running (${container.state})`;
  throw new TrineError("wrongState", `${what}; \`trine why ${view.name}\` tells more`);
}

function hasId(view: PodView, prefix: string): boolean {
  if (prefix.length > MAX_ID_LENGTH || !/^[0-9a-f]+$/.test(prefix)) return false;
  const ids = [view.sandboxId, ...view.containers.map(({ id }) => id)];
  return ids.some((id) => id.startsWith(prefix));
}

/** Names on the command line and -l exclude each other; one of them is wanted. */
export function requireTargets(names: readonly string[], selector: string | undefined): void {
  if (names.length > 0 && selector !== undefined) {
    throw new TrineError("invalid", "name pods or select them by -l, not both");
  }
  if (names.length === 0 && selector === undefined) {
    throw new TrineError("invalid", "which pods? Name them, or select them by -l");
  }
}

/**
 * Does something to several pods, one after the other; each has its own line. Answers the exit code: 0
 * when all went well, else that of the first that did not.
 */
export async function forEachPod(
  io: Io,
  targets: readonly string[],
  act: (name: string) => Promise<string>,
): Promise<number> {
  let code = 0;
  for (const target of targets) {
    try {
      io.stdout.write(`${await act(target)}\n`);
    } catch (cause) {
      if (io.signal.aborted) throw cause;
      await reportError(io, cause);
      code ||= EXIT_CODES[kindOf(cause)];
    }
  }
  return code;
}
