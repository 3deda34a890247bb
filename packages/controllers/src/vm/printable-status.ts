import type { VirtualMachineStatus } from "@trine/kube-types";
import { hasUnboundClaim, hasVolumeError, isProvisioning } from "./data-volumes.ts";
import { type Strategy, isToRun } from "./run-strategy.ts";
import { type Instance, type Seen, hasCondition, isFinal, isLeaving } from "./seen.ts";
import { RESTARTING } from "./start-failure.ts";

export type Shown = Pick<Seen, "vm" | "vmi" | "dataVolume" | "claim"> & {
  readonly strategy: Strategy | undefined;
  /** Starts that failed one after the other. */
  readonly failures: number;
};

type Predicate = (shown: Shown) => boolean;

const STARTING = new Set(["", "Pending", "Scheduling", "Scheduled"]);

/** Holds of an instance that is there. */
function of(predicate: (vmi: Instance) => boolean): Predicate {
  return ({ vmi }) => vmi !== undefined && predicate(vmi);
}

const isRunning = (vmi: Instance): boolean => vmi.status?.phase === "Running";
const isPaused = (vmi: Instance): boolean => hasCondition(vmi, "Paused", "True");
const notSynchronized = (reason: string): Predicate =>
  of((vmi) => hasCondition(vmi, "Synchronized", "False", reason));

function isMigrating({ status }: Instance): boolean {
  const { startTimestamp, completed = false, failed = false } = status?.migrationState ?? {};
  return startTimestamp !== undefined && startTimestamp !== null && !completed && !failed;
}

function isCrashLooping({ vmi, strategy, failures }: Shown): boolean {
  if (vmi !== undefined && !isFinal(vmi)) return false;
  return failures > 0 && strategy !== undefined && RESTARTING.has(strategy);
}

function waitsForVolume(shown: Shown): boolean {
  return shown.strategy !== undefined && isToRun(shown, shown.strategy) && hasUnboundClaim(shown);
}

/** In KubeVirt's order: the first that holds is shown. */
const STATUSES: readonly (readonly [
  NonNullable<VirtualMachineStatus["printableStatus"]>,
  Predicate,
])[] = [
  ["Terminating", ({ vm }) => isLeaving(vm)],
  ["Stopping", of((vmi) => !isFinal(vmi) && isLeaving(vmi))],
  ["Migrating", of(isMigrating)],
  ["Paused", of((vmi) => isRunning(vmi) && isPaused(vmi))],
  ["Running", of((vmi) => isRunning(vmi) && !isPaused(vmi))],
  ["ErrorPvcNotFound", notSynchronized("FailedPvcNotFound")],
  ["DataVolumeError", hasVolumeError],
  ["ErrorUnschedulable", of((vmi) => hasCondition(vmi, "PodScheduled", "False", "Unschedulable"))],
  ["Provisioning", isProvisioning],
  ["WaitingForVolumeBinding", waitsForVolume],
  ["ErrImagePull", notSynchronized("ErrImagePull")],
  ["ImagePullBackOff", notSynchronized("ImagePullBackOff")],
  ["Starting", of((vmi) => STARTING.has(vmi.status?.phase ?? ""))],
  ["CrashLoopBackOff", isCrashLooping],
  ["Stopped", ({ vmi }) => vmi === undefined || isFinal(vmi)],
  [
    "WaitingForReceiver",
    ({ vmi, strategy }) => strategy === "WaitAsReceiver" && vmi?.status?.phase === "WaitingForSync",
  ],
];

export function printableStatus(
  shown: Shown,
): NonNullable<VirtualMachineStatus["printableStatus"]> {
  return STATUSES.find(([, holds]) => holds(shown))?.[0] ?? "Unknown";
}
