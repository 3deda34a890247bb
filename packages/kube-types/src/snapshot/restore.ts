import { typedLocalObjectReference } from "../kubernetes/references.ts";
import { snapshotCondition } from "./snapshot.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  boolean,
  known,
  list,
  map,
  needed,
  object,
  oneOf,
  string,
  time,
} from "../schema/schema.ts";

const volumeRestoreOverride = object({
  volumeName: string(),
  restoreName: string(),
  labels: map(string()),
  annotations: map(string()),
});

const virtualMachineRestoreSpec = object({
  target: needed(typedLocalObjectReference),
  virtualMachineSnapshotName: needed(string()),
  targetReadinessPolicy: oneOf(
    ["StopTarget", "WaitGracePeriod", "FailImmediate", "WaitEventually"],
    { default: "WaitGracePeriod" },
  ),
  volumeRestorePolicy: known("RandomizeNames", "InPlace", "PrefixTargetName"),
  volumeOwnershipPolicy: known("Vm", "None"),
  volumeRestoreOverrides: list(volumeRestoreOverride, { merge: "atomic" }),
  patches: list(string(), { merge: "atomic" }),
});

const volumeRestore = object({
  volumeName: needed(string()),
  persistentVolumeClaim: needed(string()),
  volumeSnapshotName: needed(string()),
  dataVolumeName: string(),
});

const virtualMachineRestoreStatus = object({
  restores: list(volumeRestore, { merge: "atomic" }),
  restoreTime: time(),
  deletedDataVolumes: list(string(), { merge: "set" }),
  complete: boolean(),
  conditions: list(snapshotCondition, { merge: "atomic" }),
});

export const virtualMachineRestore = whole({
  spec: needed(virtualMachineRestoreSpec),
  status: virtualMachineRestoreStatus,
});
export type VirtualMachineRestore = Infer<typeof virtualMachineRestore>;
