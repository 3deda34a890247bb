import { changedBlockTrackingStatus } from "./backup-status.ts";
import { disk } from "./disks.ts";
import { virtualMachineMemoryDumpRequest } from "./machine-spec.ts";
import { storageMigratedVolumeInfo } from "./volume-status.ts";
import { dataVolumeSource, persistentVolumeClaimVolumeSource } from "./volumes.ts";
import {
  type Infer,
  boolean,
  int64,
  integer,
  known,
  list,
  map,
  needed,
  nullable,
  object,
  string,
  time,
} from "../schema/schema.ts";

const virtualMachineCondition = object({
  type: needed(known("Failure", "Ready", "Paused", "RestartRequired", "ManualRecoveryRequired")),
  status: needed(known("True", "False", "Unknown")),
  lastProbeTime: nullable(time()),
  lastTransitionTime: nullable(time()),
  reason: string(),
  message: string(),
});
export type VirtualMachineCondition = Infer<typeof virtualMachineCondition>;

const virtualMachineStateChangeRequest = object({
  action: needed(known("Start", "Stop")),
  data: map(string()),
  uid: string(),
});

const hotplugVolumeSource = object({
  persistentVolumeClaim: persistentVolumeClaimVolumeSource,
  dataVolume: dataVolumeSource,
});

const addVolumeOptions = object({
  name: needed(string()),
  disk: needed(disk),
  volumeSource: needed(hotplugVolumeSource),
  dryRun: list(string(), { merge: "atomic" }),
});

const removeVolumeOptions = object({
  name: needed(string()),
  dryRun: list(string(), { merge: "atomic" }),
});

const virtualMachineVolumeRequest = object({
  addVolumeOptions,
  removeVolumeOptions,
});

const volumeSnapshotStatus = object({
  name: needed(string()),
  enabled: needed(boolean()),
  reason: string(),
});

const virtualMachineStartFailure = object({
  consecutiveFailCount: integer(),
  lastFailedVMIUID: string(),
  retryAfterTimestamp: time(),
});

const volumeMigrationState = object({
  migratedVolumes: list(storageMigratedVolumeInfo, { merge: "atomic" }),
});

const volumeUpdateState = object({ volumeMigrationState });

const controllerRevisionRef = object({ name: string() });

const instancetypeStatusRef = object({
  name: string(),
  kind: string(),
  controllerRevisionRef,
  inferFromVolume: string(),
  inferFromVolumeFailurePolicy: known("Reject", "Ignore"),
});

export const virtualMachineStatus = object({
  snapshotInProgress: string(),
  restoreInProgress: string(),
  created: boolean(),
  ready: boolean(),
  printableStatus: known(
    "Stopped",
    "Provisioning",
    "Starting",
    "Running",
    "Paused",
    "Stopping",
    "Terminating",
    "CrashLoopBackOff",
    "Migrating",
    "Unknown",
    "ErrorUnschedulable",
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrorPvcNotFound",
    "DataVolumeError",
    "WaitingForVolumeBinding",
    "WaitingForReceiver",
  ),
  conditions: list(virtualMachineCondition),
  stateChangeRequests: list(virtualMachineStateChangeRequest),
  volumeRequests: list(virtualMachineVolumeRequest, { merge: "atomic" }),
  volumeSnapshotStatuses: list(volumeSnapshotStatus),
  startFailure: nullable(virtualMachineStartFailure),
  memoryDumpRequest: nullable(virtualMachineMemoryDumpRequest),
  observedGeneration: int64(),
  desiredGeneration: int64(),
  runStrategy: known("Always", "Halted", "Manual", "RerunOnFailure", "Once", "WaitAsReceiver"),
  volumeUpdateState,
  changedBlockTracking: nullable(changedBlockTrackingStatus),
  instancetypeRef: nullable(instancetypeStatusRef),
  preferenceRef: nullable(instancetypeStatusRef),
});
export type VirtualMachineStatus = Infer<typeof virtualMachineStatus>;
