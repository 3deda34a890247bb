import { parseMicrovmAnnotations } from "@trine/annotations";
import { TrineError, messageOf } from "@trine/base";
import type { AgentClient } from "@trine/guest-link";
import type { Machine } from "@trine/vmm";
import { requireRoom } from "../guest-memory.ts";
import type { PodContext } from "../pod-context.ts";
import type { GuestRecord, GuestSize } from "../pod-document.ts";
import { resizeGuest } from "../resize-guest.ts";
import { changedLimits, requireReach, sizeAfter } from "../container-limits.ts";
import { leastSize } from "./guest-size.ts";

interface RunningGuest {
  readonly record: GuestRecord;
  readonly machine: Machine;
  readonly agent: AgentClient;
  readonly life: AbortSignal;
}

/**
 * Changes a container's limits, and the size of its guest where that is to follow them. `resources`: OCI
 * linux.resources as JSON. A change that the guest does not take leaves its size as it was; kinds `exhausted` beyond
 * what the guest or the pod's own limit allow, `timeout` when the guest does not follow.
 */
export async function updateContainer(
  pod: PodContext,
  guest: RunningGuest,
  id: string,
  resources: Uint8Array,
): Promise<void> {
  const { [id]: own, ...rest } = guest.record.containers;
  const before = own?.limits ?? {};
  const after = changedLimits(resources, before);
  const living = Object.values(rest).filter((each) => each !== undefined && each.state !== "ended");
  const others = living.map((each) => each?.limits ?? {});
  const from = sizeOf(guest.record);
  const least = leastOf(pod, guest.record.spec);
  const to = sizeAfter(from, least, { before, after, others });
  await resize(pod, guest, from, to);
  try {
    await guest.agent.update(id, resources);
  } catch (cause) {
    await resize(pod, guest, to, from).catch((failure: unknown) => {
      pod.log.error({ err: messageOf(failure) }, "the guest's size stays as it was changed");
    });
    throw cause;
  }
  if (own !== undefined) own.limits = after;
  await pod.save();
}

function sizeOf({ size, spec }: GuestRecord): GuestSize {
  return size ?? { cpus: spec.cpus, memoryBytes: spec.memoryBytes };
}

/** What the pod is owed, and what its machine began with: that cannot be taken from it. */
function leastOf({ deps, sandbox }: PodContext, machine: GuestSize): GuestSize {
  const settings = parseMicrovmAnnotations(sandbox.annotations);
  const { cpus, memoryBytes } = leastSize(settings, sandbox, deps.config.microvms);
  return {
    cpus: Math.max(cpus, machine.cpus),
    memoryBytes: Math.max(memoryBytes, machine.memoryBytes),
  };
}

/** A daemon that dies meanwhile has written down what the guest had: the next one goes back to it. */
async function resize(
  pod: PodContext,
  running: RunningGuest,
  from: GuestSize,
  to: GuestSize,
): Promise<void> {
  const { record, life, ...guest } = running;
  if (from.cpus === to.cpus && from.memoryBytes === to.memoryBytes) return;
  requireReach(to, from, record.spec);
  if (to.memoryBytes > from.memoryBytes) await requireRoom(to.memoryBytes, pod.facts.cgroups);
  Object.assign(record, { size: to, formerSize: from });
  await pod.save();
  try {
    await resizeGuest(record.spec, to, guest, life);
  } catch (cause) {
    await goBack(pod, running);
    throw TrineError.during("change the size of the pod's guest", cause);
  }
  delete record.formerSize; // written down with the limits
  pod.log.info({ from, to }, "the guest has another size");
}

/**
 * Takes back a change of the size that has not come to its end. A guest that does not follow that either is logged: its
 * containers run, and must stay in reach.
 */
export async function goBack(
  pod: PodContext,
  { record, life, ...guest }: RunningGuest,
): Promise<void> {
  const { formerSize, spec } = record;
  if (formerSize === undefined) return;
  record.size = formerSize;
  await pod.save();
  try {
    await resizeGuest(spec, formerSize, guest, life);
    delete record.formerSize;
  } catch (cause) {
    pod.log.error({ err: messageOf(cause) }, "the guest does not go back to the size it had");
  }
}
