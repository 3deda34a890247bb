import { isDeepStrictEqual } from "node:util";
import type { Pod, Stored } from "@trine/kube-client";
import { INSTANCE_FINALIZER, type VirtualMachineInstanceStatus } from "@trine/kube-types";
import { statusOf } from "./instance-status.ts";
import { keepsState } from "./firmware.ts";
import { type GrowthStep, growthStep } from "./growth.ts";
import { aboutToRunMs, nextPhase } from "./phase.ts";
import {
  type Instance,
  type Phase,
  SILENCE_MS,
  type Seen,
  isFinal,
  isLeaving,
  phaseOf,
  unfilled,
} from "./seen.ts";
import { stateClaimName } from "./render-pod.ts";
import { graceSeconds } from "./scheduling.ts";
import { bytesOf } from "./settings.ts";
import { COMPUTE } from "./networks.ts";

/** What an instance needs done next, beside its status. Each may be repeated: it finds the work done. */
export type Step =
  /** The finalizer, before anything is made for it. */
  | { readonly do: "hold" }
  /** The finalizer: nothing of the machine is left. */
  | { readonly do: "release" }
  | { readonly do: "createClaim"; readonly name: string }
  | { readonly do: "createPod"; readonly pod: Pod }
  | { readonly do: "deletePod"; readonly pod: Stored<Pod>; readonly graceSeconds: number }
  /** Of a machine that is to grow while it runs; or a wait until `ms` have passed, or something changes. */
  | GrowthStep
  | { readonly do: "nothing" };

const NOTHING: Step = { do: "nothing" };

/** Decides; does no I/O. */
export function nextStep(seen: Seen): Step {
  const { vmi, pod } = seen;
  if (isLeaving(vmi)) return ending(seen);
  if (vmi.metadata.finalizers?.includes(INSTANCE_FINALIZER) !== true) return { do: "hold" };
  if (isFinal(nextPhase(seen))) return afterTheEnd(seen);
  if (pod === undefined) return starting(seen);
  return running(seen);
}

/** The pod first, then the instance. A pod of a node that is fenced off is as good as gone. */
function ending(seen: Seen): Step {
  const { vmi, pod, isFenced, spec } = seen;
  const isHeld = vmi.metadata.finalizers?.includes(INSTANCE_FINALIZER) ?? false;
  if (pod === undefined || isFenced) return isHeld ? { do: "release" } : NOTHING;
  const grace = graceSeconds(spec);
  const given = pod.metadata.deletionGracePeriodSeconds;
  // Deleted once more where less patience is asked for since.
  const isAsked = isLeaving(pod) && (given === undefined || given <= grace);
  return isAsked ? NOTHING : { do: "deletePod", pod, graceSeconds: grace };
}

/** A machine that has ended takes the containers beside it along, and a fenced node's pod has nobody else to end it. */
function afterTheEnd({ pod, isFenced, spec }: Seen): Step {
  if (pod === undefined || isLeaving(pod)) return NOTHING;
  const others = (pod.status?.containerStatuses ?? []).filter(({ name }) => name !== COMPUTE);
  const isAlone = others.every(({ state }) => state?.running === undefined);
  return isAlone && !isFenced
    ? NOTHING
    : { do: "deletePod", pod, graceSeconds: graceSeconds(spec) };
}

function starting(seen: Seen): Step {
  const { vmi, rendering, spec, claim } = seen;
  if (unfilled(seen).length > 0 || rendering === undefined || "refusals" in rendering)
    return NOTHING;
  const name = stateClaimName(vmi);
  if (keepsState(spec.domain) && claim(name) === undefined) return { do: "createClaim", name };
  return { do: "createPod", pod: rendering.pod };
}

function running(seen: Seen): Step {
  const { heard, now } = seen;
  if (heard?.node !== "lost") {
    if (nextPhase(seen) === "Running") return growthStep(seen) ?? NOTHING;
    const ms = aboutToRunMs(seen);
    return ms > 0 ? { do: "wait", ms } : NOTHING;
  }
  const silentMs = now.getTime() - heard.since.getTime();
  return silentMs < SILENCE_MS ? { do: "wait", ms: SILENCE_MS - silentMs } : NOTHING;
}

const DRIFT_BYTES = 64 * 1024 ** 2;
const NODE_LABEL = "kubevirt.io/nodeName";

/** The instance as it is to be written; undefined: it is as it is to be. */
export function written(seen: Seen, step: Step): Instance | undefined {
  const { vmi } = seen;
  const { metadata } = vmi;
  const status = statusOf(seen, nextPhase(seen));
  const finalizers = finalizersAfter(metadata.finalizers ?? [], step);
  const { nodeName } = status;
  const labels =
    nodeName === undefined ? metadata.labels : { ...metadata.labels, [NODE_LABEL]: nodeName };
  // Of the rest nothing is changed here, and a spec is long.
  const now = { labels, finalizers, status: withoutDrift(status, vmi.status) };
  const then = {
    labels: metadata.labels,
    finalizers: metadata.finalizers ?? [],
    status: vmi.status,
  };
  if (isDeepStrictEqual(plain(now), plain(then))) return undefined;
  return {
    ...vmi,
    metadata: {
      ...metadata,
      ...(labels === undefined ? {} : { labels }),
      ...(metadata.finalizers === undefined && finalizers.length === 0 ? {} : { finalizers }),
    },
    status,
  };
}

/** A machine's measured overhead never stands still: a little more or less of it goes along with the next write, and makes none. */
function withoutDrift(
  now: VirtualMachineInstanceStatus,
  then: VirtualMachineInstanceStatus | undefined,
): VirtualMachineInstanceStatus {
  const told = then?.memory?.memoryOverhead;
  const [is, was] = [bytesOf(now.memory?.memoryOverhead), bytesOf(told)];
  if (told === undefined || is === undefined || was === undefined) return now;
  const isDrift = Math.abs(is - was) < DRIFT_BYTES;
  return isDrift ? { ...now, memory: { ...now.memory, memoryOverhead: told } } : now;
}

function finalizersAfter(before: readonly string[], step: Step): readonly string[] {
  if (step.do === "hold") return [...before, INSTANCE_FINALIZER];
  return step.do === "release" ? before.filter((each) => each !== INSTANCE_FINALIZER) : before;
}

/** As it comes back from the API server: without what is undefined. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value)) as unknown;
}

/** Whether the instance came to that phase by this write. */
export function cameTo(before: Instance, after: Instance, phase: Phase): boolean {
  return phaseOf(before) !== phase && phaseOf(after) === phase;
}
