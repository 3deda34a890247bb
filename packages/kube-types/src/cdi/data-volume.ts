import { dataVolumeSourceReference, importSource } from "./import-source.ts";
import { persistentVolumeClaimSpec, volumeResourceRequirements } from "../kubernetes/claims.ts";
import { typedLocalObjectReference, typedObjectReference } from "../kubernetes/references.ts";
import { labelSelector } from "../kubernetes/selectors.ts";
import { templateMetadata } from "../schema/metadata.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  boolean,
  int32,
  known,
  list,
  needed,
  object,
  oneOf,
  string,
  time,
} from "../schema/schema.ts";

const storageSpec = object({
  accessModes: list(known("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")),
  selector: labelSelector,
  resources: volumeResourceRequirements,
  volumeName: string(),
  storageClassName: string(),
  volumeMode: known("Block", "Filesystem"),
  dataSource: typedLocalObjectReference,
  dataSourceRef: typedObjectReference,
});
export type StorageSpec = Infer<typeof storageSpec>;

export const dataVolumeCheckpoint = object({
  previous: needed(string()),
  current: needed(string()),
});

export const dataVolumeSpec = object({
  source: importSource,
  sourceRef: dataVolumeSourceReference,
  pvc: persistentVolumeClaimSpec,
  storage: storageSpec,
  priorityClassName: string(),
  serviceAccountName: string(),
  contentType: oneOf(["kubevirt", "archive"]),
  checkpoints: list(dataVolumeCheckpoint),
  finalCheckpoint: boolean(),
  preallocation: boolean(),
});
export type DataVolumeSpec = Infer<typeof dataVolumeSpec>;

const dataVolumeCondition = object({
  type: needed(known("Ready", "Bound", "Running")),
  status: needed(known("True", "False", "Unknown")),
  lastTransitionTime: time(),
  lastHeartbeatTime: time(),
  reason: string(),
  message: string(),
});

const dataVolumeStatus = object({
  claimName: string(),
  phase: known(
    "Pending",
    "PVCBound",
    "ImportScheduled",
    "ImportInProgress",
    "CloneScheduled",
    "CloneInProgress",
    "SnapshotForSmartCloneInProgress",
    "CloneFromSnapshotSourceInProgress",
    "SmartClonePVCInProgress",
    "CSICloneInProgress",
    "ExpansionInProgress",
    "NamespaceTransferInProgress",
    "UploadScheduled",
    "UploadReady",
    "WaitForFirstConsumer",
    "PendingPopulation",
    "Succeeded",
    "Failed",
    "Unknown",
    "Paused",
    "PrepClaimInProgress",
    "RebindInProgress",
  ),
  progress: string(),
  restartCount: int32(),
  conditions: list(dataVolumeCondition),
});

export const dataVolume = whole({ spec: needed(dataVolumeSpec), status: dataVolumeStatus });
export type DataVolume = Infer<typeof dataVolume>;

/** What a DataVolume is made of that is not there yet. */
export const dataVolumeTemplate = object({
  apiVersion: string(),
  kind: string(),
  metadata: templateMetadata(),
  spec: needed(dataVolumeSpec),
  status: dataVolumeStatus,
});
