import { parseMicrovmAnnotations } from "@trine/annotations";
import { TrineError, messageOf } from "@trine/base";
import type { AgentClient } from "@trine/guest-link";
import type { Machine } from "@trine/vmm";
import { requireRoom } from "../guest-memory.ts";
import type { PodContext } from "../pod-context.ts";
import type { GuestRecord, GuestSize } from "../pod-document.ts";
import { resizeGuest } from "./grow-guest.ts";
import { changedLimits, requireReach, sizeAfter } from "./guest-resources.ts";
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

/** A daemon that dies meanwhile has written down what the guest was to become: the next one goes on. */
async function resize(
  pod: PodContext,
  { record, life, ...guest }: RunningGuest,
  from: GuestSize,
  to: GuestSize,
): Promise<void> {
  if (from.cpus === to.cpus && from.memoryBytes === to.memoryBytes) return;
  requireReach(to, from, record.spec);
  if (to.memoryBytes > from.memoryBytes) await requireRoom(to.memoryBytes, pod.facts.cgroups);
  await note(pod, record, to);
  try {
    await resizeGuest(record.spec, to, guest, life);
  } catch (cause) {
    await note(pod, record, from);
    await resizeGuest(record.spec, from, guest, life).catch((failure: unknown) => {
      pod.log.error({ err: messageOf(failure) }, "the guest does not go back to its size either");
    });
    throw TrineError.during("change the size of the pod's guest", cause);
  } finally {
    delete record.resizing;
  }
  pod.log.info({ from, to }, "the guest has another size");
}

async function note(pod: PodContext, record: GuestRecord, size: GuestSize): Promise<void> {
  record.size = size;
  record.resizing = true;
  await pod.save();
}
