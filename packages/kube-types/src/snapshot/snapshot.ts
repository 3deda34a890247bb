import { typedLocalObjectReference } from "../kubernetes/references.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  boolean,
  known,
  list,
  needed,
  nullable,
  object,
  string,
  time,
} from "../schema/schema.ts";

const virtualMachineSnapshotSpec = object({
  source: needed(typedLocalObjectReference),
  deletionPolicy: known("Delete", "Retain"),
  failureDeadline: string(),
});

export const snapshotError = object({ time: time(), message: string() });

export const snapshotCondition = object({
  type: needed(known("Ready", "Progressing", "Failure")),
  status: needed(known("True", "False", "Unknown")),
  lastProbeTime: nullable(time()),
  lastTransitionTime: nullable(time()),
  reason: string(),
  message: string(),
});

const sourceIndication = object({
  indication: needed(
    known("Online", "NoGuestAgent", "GuestAgent", "QuiesceTimeout", "Paused", "PartialSnapshot"),
  ),
  message: needed(string()),
});

const snapshotVolumesLists = object({
  includedVolumes: list(string(), { merge: "set" }),
  excludedVolumes: list(string(), { merge: "set" }),
});

const virtualMachineSnapshotStatus = object({
  sourceUID: string(),
  virtualMachineSnapshotContentName: string(),
  creationTime: nullable(time()),
  phase: known("InProgress", "Succeeded", "Failed", "Deleting", "Unknown"),
  readyToUse: boolean(),
  error: snapshotError,
  conditions: list(snapshotCondition, { merge: "atomic" }),
  indications: list(
    known("Online", "NoGuestAgent", "GuestAgent", "QuiesceTimeout", "Paused", "PartialSnapshot"),
    { merge: "set" },
  ),
  sourceIndications: list(sourceIndication, { merge: "atomic" }),
  snapshotVolumes: snapshotVolumesLists,
});

export const virtualMachineSnapshot = whole({
  spec: needed(virtualMachineSnapshotSpec),
  status: virtualMachineSnapshotStatus,
});
export type VirtualMachineSnapshot = Infer<typeof virtualMachineSnapshot>;
