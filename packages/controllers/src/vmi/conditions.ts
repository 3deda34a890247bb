import type { VirtualMachineInstanceCondition } from "@trine/kube-types";
import { timestamp } from "../timestamp.ts";
import { growthOf, progressOf } from "./growth.ts";
import { inertFields } from "./inert-fields.ts";
import type { Refusal } from "./parts.ts";
import {
  type Phase,
  type Seen,
  dataVolumeNames,
  isLeaving,
  machineStatus,
  reportOf,
  unfilled,
} from "./seen.ts";

/** Whether the guest's users have the keys and passwords that an agent gives them. */
export const CREDENTIALS = "AccessCredentialsSynchronized";

const INERT_CONDITION = "trine.dev/InertFields";

type Said = Pick<VirtualMachineInstanceCondition, "type" | "status" | "reason" | "message">;

/** What a condition says at most: an object has more of them. */
const MAX_MESSAGE = 4096;

/** The instance's conditions. What says the same as before is as it was, and those of others stay. */
export function conditionsOf(seen: Seen, phase: Phase): readonly VirtualMachineInstanceCondition[] {
  const before = seen.vmi.status?.conditions ?? [];
  const said = [
    readyOf(seen, phase),
    ...scheduledOf(seen),
    ...synchronizedOf(seen),
    ...volumesOf(seen),
    ...ofTheReport(seen, phase),
    ...growingOf(seen, phase),
    ...inertOf(seen),
  ];
  const others = before.filter(({ type }) => !OURS.has(type));
  return [...said.map((each) => settled(each, before, seen.now)), ...others];
}

const OURS: ReadonlySet<string> = new Set([
  ...["Ready", "PodScheduled", "Synchronized", "DataVolumesReady", "Provisioning"],
  ...["LiveMigratable", "Paused", "AgentConnected", "SoftwareEmulation", CREDENTIALS],
  ...["HotVCPUChange", "HotMemoryChange", INERT_CONDITION],
]);

function settled(
  said: Said,
  before: readonly VirtualMachineInstanceCondition[],
  now: Date,
): VirtualMachineInstanceCondition {
  const found = before.find(({ type }) => type === said.type);
  const message = said.message?.slice(0, MAX_MESSAGE);
  const cut = message === undefined ? said : { ...said, message };
  const lastTransitionTime =
    found?.status === said.status ? (found.lastTransitionTime ?? timestamp(now)) : timestamp(now);
  return { ...cut, lastProbeTime: null, lastTransitionTime };
}

function readyOf({ pod, spec }: Seen, phase: Phase): Said {
  const type = "Ready";
  const not = (reason: string, message: string): Said => ({
    type,
    status: "False",
    reason,
    message,
  });
  if (phase === "Unknown") {
    const message =
      "The node is not heard: nothing is known of the machine until it is, or its pod is gone";
    return { type, status: "Unknown", reason: "NodeUnresponsive", message };
  }
  if (phase !== "Running") {
    const isLost = pod === undefined && phase !== "Pending";
    return isLost
      ? not("PodNotExists", "The machine's pod is gone")
      : not("GuestNotRunning", "Guest VM is not reported as running");
  }
  if (pod === undefined || isLeaving(pod))
    return not("PodTerminating", "The machine's pod is ending");
  // Who waits for it goes on to ask for its address, and services have none before the pod has.
  if ((pod.status?.podIPs ?? []).length === 0)
    return not("PodConditionMissing", "The pod has no address yet");
  // Without a probe a guest that runs is as ready as anybody can tell.
  if (spec.readinessProbe === undefined) return { type, status: "True" };
  const found = pod.status?.conditions?.find((each) => each.type === type);
  if (found === undefined)
    return not("PodConditionMissing", "The pod does not say whether it is ready");
  const { status, reason, message } = found;
  return {
    type,
    status,
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
  };
}

/** Only where it could not be: that it was is what the phase says. */
function scheduledOf({ pod }: Seen): Said[] {
  const found = pod?.status?.conditions?.find(({ type }) => type === "PodScheduled");
  if (found?.status !== "False") return [];
  const { type, status, reason = "Unschedulable", message = "" } = found;
  return [{ type, status, reason, message }];
}

/** Reasons of kubelet's by which a container waits for something that may never come. */
const WAITS: ReadonlySet<string> = new Set([
  ...["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"],
  ...["CreateContainerConfigError", "CreateContainerError", "RunContainerError"],
]);

/** What keeps the machine from being what its spec says. */
function synchronizedOf(seen: Seen): Said[] {
  const type = "Synchronized";
  const status = "False";
  const { rendering, refused } = seen;
  if (rendering !== undefined && "refusals" in rendering) {
    return [
      {
        type,
        status,
        reason: refusalReason(rendering.refusals),
        message: refusalText(rendering.refusals),
      },
    ];
  }
  if (refused !== undefined) return [{ type, status, reason: "FailedCreate", message: refused }];
  const waiting = machineStatus(seen)?.state?.waiting;
  const reason = waiting?.reason ?? "";
  return WAITS.has(reason) ? [{ type, status, reason, message: waiting?.message ?? "" }] : [];
}

export function refusalReason(refusals: readonly Refusal[]): "FailedPvcNotFound" | "FailedCreate" {
  const isMissing = refusals.every(({ why }) =>
    why.startsWith("there is no PersistentVolumeClaim"),
  );
  return isMissing ? "FailedPvcNotFound" : "FailedCreate";
}

export function refusalText(refusals: readonly Refusal[]): string {
  return refusals.map(({ field, why }) => `${field}: ${why}`).join("; ");
}

function volumesOf(seen: Seen): Said[] {
  const missing = unfilled(seen);
  if (missing.length === 0 && dataVolumeNames(seen.spec).length === 0) return [];
  const type = "DataVolumesReady";
  if (missing.length === 0) {
    return [
      {
        type,
        status: "True",
        reason: "AllDVsReady",
        message: "All of the VMI's DVs are bound and not running",
      },
    ];
  }
  const message = `Waiting for DataVolume ${missing.join(", ")}`;
  return [
    { type, status: "False", reason: "NotAllDVsReady", message },
    { type: "Provisioning", status: "True", reason: "DataVolumesNotReady", message },
  ];
}

function ofTheReport(seen: Seen, phase: Phase): readonly Said[] {
  const report = reportOf(seen);
  if (phase !== "Running" && phase !== "Unknown") return [];
  if (report === undefined) return seen.heard?.node === "lost" ? lastSaid(seen) : [];
  const isTrue = (type: string, reason?: string, message?: string): Said => ({
    ...{ type, status: "True" },
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
  });
  return [
    {
      type: "LiveMigratable",
      status: "False",
      reason: "NotImplemented",
      message: "Machines do not migrate yet: a machine that has to leave its node is ended",
    },
    ...(report.phase === "paused" ? [pausedBy(report.reason)] : []),
    ...(report.agent.connected ? [isTrue("AgentConnected")] : []),
    ...credentialsOf(report),
    ...(report.accelerator === "tcg"
      ? [
          isTrue(
            "SoftwareEmulation",
            "NoKVM",
            "The node has no KVM: the guest is emulated, and slow",
          ),
        ]
      : []),
  ];
}

const OF_THE_REPORT: ReadonlySet<string> = new Set([
  "LiveMigratable",
  "Paused",
  "AgentConnected",
  "SoftwareEmulation",
  CREDENTIALS,
  "HotVCPUChange",
  "HotMemoryChange",
]);

/** While the spec has more than the guest: True under way, False with what stands against it. */
function growingOf(seen: Seen, phase: Phase): Said[] {
  const growth = phase === "Running" || phase === "Unknown" ? growthOf(seen) : undefined;
  if (growth === undefined) return [];
  const progress = progressOf(seen);
  return [
    ...(growth.ofCpus ? [{ type: "HotVCPUChange", ...progress }] : []),
    ...(growth.ofMemory ? [{ type: "HotMemoryChange", ...progress }] : []),
  ];
}

/** A door that has not answered yet, after a start of ours for one, takes nothing back. */
function lastSaid({ vmi }: Seen): readonly Said[] {
  return (vmi.status?.conditions ?? []).filter(({ type }) => OF_THE_REPORT.has(type));
}

function credentialsOf({ credentials }: NonNullable<ReturnType<typeof reportOf>>): Said[] {
  if (credentials === undefined) return [];
  const { synchronized, message } = credentials;
  const said = message === undefined ? {} : { message };
  return synchronized
    ? [{ type: CREDENTIALS, status: "True", reason: "AccessCredentialsSyncSuccess", ...said }]
    : [{ type: CREDENTIALS, status: "False", reason: "AccessCredentialsSyncFailed", ...said }];
}

/** `why`: of a machine that its VMM has stopped by itself. */
function pausedBy(why: string | undefined): Said {
  const type = "Paused";
  const status = "True";
  return why === undefined
    ? { type, status, reason: "PausedByUser", message: "VMI was paused by user" }
    : { type, status, reason: "PausedIOError", message: `VMI was paused: ${why}` };
}

function inertOf({ vmi }: Seen): Said[] {
  const inert = inertFields(vmi.spec);
  if (inert.length === 0) return [];
  const message = inert.map(({ field, why }) => `${field}: ${why}`).join("; ");
  return [{ type: INERT_CONDITION, status: "True", reason: "NotActedOn", message }];
}
