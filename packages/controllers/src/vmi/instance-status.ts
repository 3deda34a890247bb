import type { VirtualMachineInstanceStatus } from "@trine/kube-types";
import { timestamp } from "../timestamp.ts";
import { conditionsOf } from "./conditions.ts";
import { guestBytes, quantityOf } from "./cpu-memory.ts";
import { isOtherMemory } from "./growth.ts";
import { interfacesOf } from "./network-status.ts";
import { defined } from "./parts.ts";
import { type Phase, type Seen, isFinal, machineStatus, phaseOf, reportOf } from "./seen.ts";
import { bytesOf } from "./settings.ts";
import { volumeStatusOf } from "./volume-status.ts";

const MIB = 1024 ** 2;
/** By less than that a measured overhead has not changed. (`written` says how much of a change is a write of its own.) */
const STEP_BYTES = 16 * MIB;

/** What is to be said of an instance in that phase. What others have written into it stays. */
export function statusOf(seen: Seen, phase: Phase): VirtualMachineInstanceStatus {
  const { vmi, pod } = seen;
  const before = vmi.status ?? {};
  // Where it will run and of what is told with the next phase: each telling is a write.
  const isPlaced = phase !== "Pending" && phase !== "Scheduling";
  const nodeName = isPlaced ? pod?.spec.nodeName : before.nodeName;
  const uid = pod?.metadata.uid;
  const image = isPlaced ? machineStatus(seen)?.image : undefined;
  const qosClass = pod?.status?.qosClass;
  const type = seen.spec.domain.machine?.type;
  const reason = phase === "Failed" ? reasonOf(seen) : undefined;
  return {
    ...before,
    phase,
    ...(reason === undefined ? {} : { reason }),
    phaseTransitionTimestamps: transitions(seen, phase),
    conditions: conditionsOf(seen, phase),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(uid === undefined || isFinal(phase) ? {} : { activePods: { [uid]: nodeName ?? "" } }),
    ...(image === undefined ? {} : { launcherContainerImageVersion: image }),
    ...(qosClass === undefined ? {} : { qosClass }),
    ...(type === undefined ? {} : { machine: { type } }),
    ...(isFinal(phase) ? {} : ofTheMachine(seen, phase)),
  };
}

/** When each phase was come to first. */
function transitions(
  { vmi, now }: Seen,
  phase: Phase,
): NonNullable<VirtualMachineInstanceStatus["phaseTransitionTimestamps"]> {
  const before = vmi.status?.phaseTransitionTimestamps ?? [];
  const isNew = (one: Phase): boolean => before.every((each) => each.phase !== one);
  if (!isNew(phase)) return before;
  // Who runs was known to its node, though that was not told alone.
  const isPassed = phase === "Running" && ["Pending", "Scheduling"].includes(phaseOf(vmi));
  const passed: readonly Phase[] = isPassed && isNew("Scheduled") ? ["Scheduled"] : [];
  const stamp = { phaseTransitionTimestamp: timestamp(now) };
  return [...before, ...[...passed, phase].map((each) => ({ phase: each, ...stamp }))];
}

/** Why it failed, in a word. */
function reasonOf(seen: Seen): string | undefined {
  if (phaseOf(seen.vmi) === "Failed") return undefined;
  if (seen.isFenced) return "NodeFenced";
  if (seen.pod === undefined) return "PodNotExists";
  return machineStatus(seen)?.state?.terminated?.reason ?? seen.pod.status?.reason;
}

/** What its node says of it. */
function ofTheMachine(seen: Seen, phase: Phase): Partial<VirtualMachineInstanceStatus> {
  const { spec, vmi } = seen;
  const report = reportOf(seen);
  const guest = spec.domain.memory?.guest;
  const cpu = spec.domain.cpu;
  const memory = vmi.status?.memory ?? {};
  const isOn = phase === "Running" || phase === "Scheduled";
  const overhead = overheadOf(seen);
  return {
    currentCPUTopology: report?.cpus ?? {
      sockets: cpu?.sockets ?? 1,
      cores: cpu?.cores ?? 1,
      threads: cpu?.threads ?? 1,
    },
    memory: {
      ...(guest === undefined ? {} : { guestAtBoot: guest, guestCurrent: guest }),
      ...memory,
      ...(guest === undefined ? {} : { guestRequested: guest, ...currentOf(seen, guest) }),
      ...(overhead === undefined ? {} : { memoryOverhead: overhead }),
    },
    ...(isOn ? { volumeStatus: volumeStatusOf(seen, phase) } : {}),
    ...(phase === "Running" ? { interfaces: interfacesOf(seen), ...ofTheGuest(seen) } : {}),
  };
}

/** What the guest has: the spec's own words, while it has that. */
function currentOf(
  seen: Seen,
  guest: number | string,
): { readonly guestCurrent?: number | string } {
  const { report, memory } = { report: reportOf(seen), ...seen.vmi.status };
  if (report === undefined) return {};
  const has = report.memory.guestBytes;
  const asked = guestBytes(seen.spec.domain);
  if (asked === undefined || !isOtherMemory(asked, has)) return { guestCurrent: guest };
  return bytesOf(memory?.guestCurrent) === has ? {} : { guestCurrent: quantityOf(has) };
}

/** What is measured; before that what the RuntimeClass charges for it. */
function overheadOf(seen: Seen): string | undefined {
  const { vmi, pod } = seen;
  const before = bytesOf(vmi.status?.memory?.memoryOverhead);
  const measured = reportOf(seen)?.memory.overheadBytes ?? 0;
  if (measured === 0) {
    const charged = (pod?.spec["overhead"] as { readonly memory?: string } | undefined)?.memory;
    return vmi.status?.memory?.memoryOverhead?.toString() ?? charged;
  }
  const rounded = Math.ceil(measured / MIB) * MIB;
  const isClose = before !== undefined && Math.abs(before - rounded) < STEP_BYTES;
  return quantityOf(isClose ? before : rounded);
}

function ofTheGuest(seen: Seen): Partial<VirtualMachineInstanceStatus> {
  const agent = reportOf(seen)?.agent;
  const before = seen.vmi.status ?? {};
  return {
    // As it was last told: an agent that is away changes nothing of the guest.
    guestOSInfo: agent?.os === undefined ? (before.guestOSInfo ?? {}) : defined(agent.os),
    fsFreezeStatus: agent?.frozen === true ? "frozen" : "",
  };
}
