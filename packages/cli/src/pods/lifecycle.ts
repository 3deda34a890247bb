import { TrineError, errnoOf, messageOf } from "@trine/base";
import type { CriClient } from "@trine/containerd-client";
import { withCri } from "../connect.ts";
import { launchWatched, requireWait } from "./create-pods.ts";
import type { CreateFlags } from "./create-pods.ts";
import type { Io } from "../io.ts";
import { removeSandboxes } from "./launch-pod.ts";
import { PodRecords, nameOf } from "./pod-records.ts";
import type { PodRecord } from "./pod-records.ts";
import { listPodViews } from "./pod-view.ts";
import type { ContainerView, PodView } from "./pod-view.ts";
import { runCtr } from "../run-ctr.ts";
import { forEachPod, requireTargets } from "./select-pods.ts";
import { nameOfView, selectNames, targetOf, targetOrNone } from "./target.ts";
import { DECLINED, confirmed, namesOf } from "../output/confirm.ts";
import type { ConfirmFlags } from "../output/confirm.ts";
import type { Target } from "./target.ts";

const DEFAULT_GRACE_S = 30;
/** The call lasts as long as the grace period and the kill after it. */
const AFTER_GRACE_MS = 60_000;
/** A call to the runtime that a start has under way is let finish; see launch-pod.ts. */
const START_ENDS_S = 1200;

export interface TargetFlags {
  readonly selector?: string;
}

export interface StopFlags extends TargetFlags {
  readonly grace?: number;
}

export type StartFlags = TargetFlags & Pick<CreateFlags, "timeout" | "wait" | "for" | "progress">;

type Act = (cri: CriClient, target: Target) => Promise<string>;

export function startPods(io: Io, names: readonly string[], flags: StartFlags): Promise<number> {
  requireWait(flags);
  return onEach(io, names, flags, (cri, target) => start(io, cri, target, flags));
}

export function stopPods(io: Io, names: readonly string[], flags: StopFlags): Promise<number> {
  return onEach(io, names, flags, async (cri, { view, record }) => {
    if (view === undefined) return "was stopped";
    await stop(cri, view, graceOf(flags, record));
    return "stopped";
  });
}

export function restartPods(
  io: Io,
  names: readonly string[],
  flags: StartFlags & StopFlags,
): Promise<number> {
  requireWait(flags);
  return onEach(io, names, flags, async (cri, { view, record }) => {
    requireRecord(record);
    if (view !== undefined) await stop(cri, view, graceOf(flags, record));
    const stopped = view === undefined ? {} : { view: { ...view, ready: false } };
    await start(io, cri, { ...stopped, record }, flags);
    return flags.wait ? "restarted" : "restarting";
  });
}

export function removePods(
  io: Io,
  names: readonly string[],
  flags: StopFlags & ConfirmFlags,
): Promise<number> {
  const records = new PodRecords(io);
  const remove: Act = async (cri, { view, record }) => {
    const take = async (there: PodView | undefined): Promise<void> => {
      if (there === undefined) return;
      await stop(cri, there, graceOf(flags, record));
      await removeSandboxes(cri, there);
    };
    if (record === undefined) {
      await take(view);
      return "removed";
    }
    // A start under way is another process's: it gives up and takes away what it has made.
    await records.markRemoving(record.uid);
    const { signal } = io;
    await records.alone(record.uid, { waitS: START_ENDS_S, signal }, async () => {
      const views = await listPodViews(cri, io.signal);
      await take(views.find(({ uid }) => uid === record.uid));
      await records.remove(record);
    });
    return "removed";
  };
  return onEach(io, names, flags, remove, (targets) => confirmRemoval(io, targets, flags));
}

/** Of pods that run a person is asked; the others have nothing to lose but what they have left. */
async function confirmRemoval(
  io: Io,
  targets: readonly Target[],
  flags: ConfirmFlags,
): Promise<boolean> {
  const running = targets.filter(({ view }) => view !== undefined && isRunning(view));
  if (running.length === 0) return true;
  const names = [...new Set(running.map(({ view }) => nameOfView(view)))];
  const what = names.length === 1 ? "which runs" : "which run";
  return confirmed(io, `remove ${namesOf(names)}, ${what}, with logs and volumes?`, flags);
}

function isRunning({ containers }: PodView): boolean {
  return containers.some(({ state }) => state === "running");
}

/** containerd's own pause: processes are frozen, a machine's processors stand still. */
export function pausePods(
  io: Io,
  names: readonly string[],
  flags: TargetFlags,
  verb: "pause" | "resume",
): Promise<number> {
  return onEach(io, names, flags, async (_, { view }) => {
    const running = (view?.containers ?? []).filter(({ state }) => state === "running");
    if (running.length === 0) throw new TrineError("wrongState", "nothing in it runs");
    for (const { id } of running) await runCtr(io, ["tasks", verb, id]);
    return verb === "pause" ? "paused" : "resumed";
  });
}

async function start(io: Io, cri: CriClient, target: Target, flags: StartFlags): Promise<string> {
  const { record } = target;
  requireRecord(record);
  const { view } = target;
  const wanted = record.pod.spec.containers.map(({ name }) => name);
  const runs = (name: string): boolean =>
    view?.containers.some((each) => each.name === name && each.state === "running") === true;
  if (view?.ready === true && wanted.every(runs)) return "was running";
  await launchWatched(io, cri, record, flags, "keep");
  return flags.wait ? "started" : "starting";
}

function requireRecord(record: PodRecord | undefined): asserts record is PodRecord {
  if (record !== undefined) return;
  throw new TrineError("wrongState", "not made by trine: who made it starts it");
}

function graceOf(flags: StopFlags, record: PodRecord | undefined): number {
  if (flags.grace !== undefined) return Math.ceil(flags.grace / 1000);
  return record?.pod.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_S;
}

/** Containers first and all at once, each with its grace; then the sandbox and its network. */
async function stop(cri: CriClient, view: PodView, graceS: number): Promise<void> {
  const running = view.containers.filter(({ state }) => state === "running");
  const timeoutMs = graceS * 1000 + AFTER_GRACE_MS;
  const stopOne = ({ id }: ContainerView): Promise<unknown> =>
    cri.runtime.stopContainer({ containerId: id, timeout: BigInt(graceS) }, { timeoutMs });
  const results = await Promise.allSettled(running.map(stopOne));
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  await cri.runtime.stopPodSandbox({ podSandboxId: view.sandboxId }, { timeoutMs });
}

function onEach(
  io: Io,
  names: readonly string[],
  { selector }: TargetFlags,
  act: Act,
  isAgreed: (targets: readonly Target[]) => Promise<boolean> = () => Promise.resolve(true),
): Promise<number> {
  requireTargets(names, selector);
  return withCri(io, async (cri) => {
    const records = await new PodRecords(io).list();
    const views = await listPodViews(cri, io.signal);
    const targets = selector === undefined ? names : selectNames(views, records, selector);
    const found = targets.flatMap((name) => targetOrNone(views, records, name));
    if (!(await isAgreed(found))) return DECLINED;
    return forEachPod(io, [...new Set(targets)], async (name) => {
      const target = targetOf(views, records, name);
      const full =
        target.record === undefined ? nameOfView(target.view) : nameOf(target.record.pod);
      try {
        return `${full} ${await act(cri, target)}`;
      } catch (cause) {
        if (messageOf(cause).includes(full) || errnoOf(cause) !== undefined) throw cause;
        throw TrineError.during(`pod ${full}`, cause);
      }
    });
  });
}
