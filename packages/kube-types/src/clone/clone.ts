import { typedLocalObjectReference } from "../kubernetes/references.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  known,
  list,
  map,
  needed,
  nullable,
  object,
  oneOf,
  string,
  time,
} from "../schema/schema.ts";

const virtualMachineCloneTemplateFilters = object({
  annotationFilters: list(string(), { merge: "atomic" }),
  labelFilters: list(string(), { merge: "atomic" }),
});

const virtualMachineCloneSpec = object({
  source: needed(typedLocalObjectReference),
  target: typedLocalObjectReference,
  annotationFilters: list(string(), { merge: "atomic" }),
  labelFilters: list(string(), { merge: "atomic" }),
  template: virtualMachineCloneTemplateFilters,
  newMacAddresses: map(string()),
  newSMBiosSerial: string(),
  patches: list(string(), { merge: "atomic" }),
  volumeNamePolicy: oneOf(["RandomizeNames", "PrefixTargetName"]),
});

const cloneCondition = object({
  type: needed(known("Ready", "Progressing")),
  status: needed(known("True", "False", "Unknown")),
  lastProbeTime: nullable(time()),
  lastTransitionTime: nullable(time()),
  reason: string(),
  message: string(),
});

const virtualMachineCloneStatus = object({
  creationTime: nullable(time()),
  phase: known(
    "SnapshotInProgress",
    "CreatingTargetVM",
    "RestoreInProgress",
    "Succeeded",
    "Failed",
    "Unknown",
  ),
  conditions: list(cloneCondition, { merge: "atomic" }),
  snapshotName: nullable(string()),
  restoreName: nullable(string()),
  targetName: nullable(string()),
});

export const virtualMachineClone = whole({
  spec: needed(virtualMachineCloneSpec),
  status: virtualMachineCloneStatus,
});
export type VirtualMachineClone = Infer<typeof virtualMachineClone>;
