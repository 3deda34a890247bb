import { persistentVolumeClaimSpec } from "../kubernetes/claims.ts";
import { virtualMachineSpec } from "../kubevirt/machine-spec.ts";
import { virtualMachineStatus } from "../kubevirt/machine-status.ts";
import { snapshotError } from "./snapshot.ts";
import { whole } from "../schema/kind.ts";
import { templateMetadata } from "../schema/metadata.ts";
import {
  type Infer,
  boolean,
  list,
  needed,
  nullable,
  object,
  string,
  time,
} from "../schema/schema.ts";

const capturedVirtualMachine = object({
  metadata: templateMetadata(),
  spec: virtualMachineSpec,
  status: virtualMachineStatus,
});

const sourceSpec = object({ virtualMachine: capturedVirtualMachine });

const capturedClaim = object({ metadata: templateMetadata(), spec: persistentVolumeClaimSpec });

const volumeBackup = object({
  volumeName: needed(string()),
  persistentVolumeClaim: needed(capturedClaim),
  volumeSnapshotName: string(),
});

const virtualMachineSnapshotContentSpec = object({
  virtualMachineSnapshotName: string(),
  source: needed(sourceSpec),
  volumeBackups: list(volumeBackup, { merge: "atomic" }),
});

const capturedVolumeSnapshotStatus = object({
  volumeSnapshotName: needed(string()),
  creationTime: nullable(time()),
  readyToUse: boolean(),
  error: snapshotError,
});

const virtualMachineSnapshotContentStatus = object({
  creationTime: nullable(time()),
  readyToUse: boolean(),
  error: snapshotError,
  volumeSnapshotStatus: list(capturedVolumeSnapshotStatus, { merge: "atomic" }),
});

export const virtualMachineSnapshotContent = whole({
  spec: needed(virtualMachineSnapshotContentSpec),
  status: virtualMachineSnapshotContentStatus,
});
export type VirtualMachineSnapshotContent = Infer<typeof virtualMachineSnapshotContent>;
