import { TrineError, pollUntil } from "@trine/base";
import type { CriClient } from "@trine/containerd-client";
import { withCri } from "../connect.ts";
import type { Io } from "../io.ts";
import { Progress } from "../output/progress.ts";
import type { ProgressForm } from "../output/progress.ts";
import { PodRecords, nameOf } from "./pod-records.ts";
import type { PodRecord } from "./pod-records.ts";
import { readinessOf } from "./pod-status.ts";
import { listPodViews } from "./pod-view.ts";
import type { PodView } from "./pod-view.ts";
import { forEachPod, requireTargets } from "./select-pods.ts";
import { nameOfView, selectNames, targetOf } from "./target.ts";
import type { Target } from "./target.ts";

/** Pods last: nobody sees the difference, and containerd is not kept busy by whoever waits. */
const LOOK_EVERY_MS = 300;

type Condition = "running" | "exited" | "stopped" | "deleted";

export interface WaitFlags {
  readonly selector?: string;
  readonly for: Condition;
  readonly timeout?: number;
  readonly progress: ProgressForm;
}

/** What a pod is known by; a view's uid, which the next pod of the same name has not. */
type Awaited = Target & { readonly name: string };

/** `trine wait POD... --for CONDITION`; each pod has its own line, all of them together the one time. */
export function waitForPods(io: Io, names: readonly string[], flags: WaitFlags): Promise<number> {
  requireTargets(names, flags.selector);
  const limit = flags.timeout === undefined ? undefined : AbortSignal.timeout(flags.timeout);
  return withCri(io, async (cri) => {
    const records = await new PodRecords(io).list();
    const views = await listPodViews(cri, io.signal);
    const { selector } = flags;
    const targets = selector === undefined ? names : selectNames(views, records, selector);
    return forEachPod(io, [...new Set(targets)], async (wanted) => {
      const target = targetOf(views, records, wanted);
      const name =
        target.record === undefined ? nameOfView(target.view) : nameOf(target.record.pod);
      const progress = new Progress(io, flags.progress);
      try {
        return `${name} ${await waitFor(io, cri, { ...target, name }, { ...flags, limit, progress })}`;
      } finally {
        progress.end();
      }
    });
  });
}

interface WaitOptions {
  readonly for: Condition;
  readonly limit?: AbortSignal | undefined;
  readonly progress: Progress;
}

/** Answers what the pod is then, in words; kind `timeout` after the limit, `notFound` when the pod goes instead. */
export async function waitFor(
  io: Pick<Io, "signal" | "dataDir" | "stateDir">,
  cri: CriClient,
  pod: Awaited,
  { for: condition, limit, progress }: WaitOptions,
): Promise<string> {
  const uid = pod.record?.uid ?? pod.view?.uid ?? "";
  const signal = AbortSignal.any([io.signal, ...(limit === undefined ? [] : [limit])]);
  progress.step(pod.name, `waiting until it is ${condition}`);
  try {
    return await pollUntil(
      `pod ${pod.name} is ${condition}`,
      { ms: Number.MAX_SAFE_INTEGER, everyMs: LOOK_EVERY_MS, signal },
      async () => {
        const view = (await listPodViews(cri, signal)).find((each) => each.uid === uid);
        const isKnown = view !== undefined || (await isRecorded(io, uid));
        return reached(pod, condition, view, isKnown);
      },
    );
  } catch (cause) {
    if (io.signal.aborted || limit?.aborted !== true) throw cause;
    const what = `pod ${pod.name} is not ${condition} yet: \`trine why ${pod.name}\` tells more`;
    throw new TrineError("timeout", what, { cause });
  }
}

async function isRecorded(io: Pick<Io, "dataDir" | "stateDir">, uid: string): Promise<boolean> {
  return (await new PodRecords(io).list()).some((record) => record.uid === uid);
}

/** Undefined: not yet. */
function reached(
  { name, record }: Awaited,
  condition: Condition,
  view: PodView | undefined,
  isKnown: boolean,
): string | undefined {
  if (!isKnown) {
    if (condition === "deleted") return "deleted";
    throw new TrineError("notFound", `pod ${name} was removed before it was ${condition}`);
  }
  switch (condition) {
    case "deleted":
      return undefined;
    case "stopped":
      return view?.ready === true ? undefined : "stopped";
    case "running":
      return view !== undefined && readinessOf(view).phase === "Running" ? "running" : undefined;
    case "exited":
      return view === undefined ? "exited" : exited(view, record);
  }
}

/**
 * Not between an init container's end and the start of what comes after it. What a pod of others is to have, and whether it
 * starts again what has ended, CRI does not tell: theirs is over when they stop its sandbox.
 */
function exited({ containers, ready }: PodView, record: PodRecord | undefined): string | undefined {
  const wanted = record?.pod.spec.containers.map((each) => each.name);
  const isMade = wanted?.every((name) => containers.some((each) => each.name === name)) ?? false;
  const isOver = containers.every(({ state }) => state === "exited" || state === "unknown");
  if (!isOver || (ready && (!isMade || containers.length === 0))) return undefined;
  const codes = containers.map((each) => `${each.name} ${each.exitCode}`).join(", ");
  return codes === "" ? "exited" : `exited (${codes})`;
}
