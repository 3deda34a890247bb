import { metaCondition } from "../kubernetes/references.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  boolean,
  known,
  list,
  needed,
  object,
  oneOf,
  ruled,
  string,
  time,
} from "../schema/schema.ts";

const IMMUTABLE = { rule: "self == oldSelf", message: "does not change once it is made" } as const;
const NAMED = { rule: "self.name != ''", message: "must have a name" } as const;

/** What is saved: a machine, or what a tracker has not saved yet. */
const backupSource = ruled(
  object({
    apiGroup: string({ example: "kubevirt.io" }),
    kind: needed(string({ example: "VirtualMachine" })),
    name: needed(string()),
  }),
  {
    rule: "has(self.apiGroup) && [self.apiGroup, self.kind] in [['kubevirt.io', 'VirtualMachine'], ['backup.kubevirt.io', 'VirtualMachineBackupTracker']]",
    message: "must be a VirtualMachine or a VirtualMachineBackupTracker, with its group",
  },
  NAMED,
);

const virtualMachineBackupSpec = ruled(
  object({
    source: needed(backupSource),
    mode: oneOf(["Push", "Pull"]),
    pvcName: string(),
    skipQuiesce: boolean(),
    forceFullBackup: boolean(),
    tokenSecretRef: string(),
    ttlDuration: string(),
  }),
  IMMUTABLE,
  { rule: "has(self.pvcName) && self.pvcName != ''", message: "must have pvcName" },
  {
    rule: "!has(self.mode) || self.mode == 'Push' || (has(self.tokenSecretRef) && self.tokenSecretRef != '')",
    message: "must have tokenSecretRef in mode Pull",
  },
);

const backupVolumeInfo = object({
  volumeName: needed(string()),
  dataEndpoint: string(),
  mapEndpoint: string(),
});

const virtualMachineBackupStatus = object({
  type: known("Full", "Incremental"),
  conditions: list(metaCondition, { merge: "map", keys: ["type"] }),
  checkpointName: string(),
  endpointCert: string(),
  includedVolumes: list(backupVolumeInfo, { merge: "atomic" }),
  exportUID: string(),
});

export const virtualMachineBackup = whole({
  spec: needed(virtualMachineBackupSpec),
  status: virtualMachineBackupStatus,
});
export type VirtualMachineBackup = Infer<typeof virtualMachineBackup>;

const trackedMachine = ruled(
  object({
    apiGroup: string({ example: "kubevirt.io" }),
    kind: needed(string({ example: "VirtualMachine" })),
    name: needed(string()),
  }),
  {
    rule: "has(self.apiGroup) && self.apiGroup == 'kubevirt.io' && self.kind == 'VirtualMachine'",
    message: "must be a VirtualMachine of kubevirt.io",
  },
  NAMED,
);

const virtualMachineBackupTrackerSpec = ruled(
  object({ source: needed(trackedMachine) }),
  IMMUTABLE,
);

const backupCheckpoint = object({
  name: string(),
  creationTime: time(),
  volumes: list(backupVolumeInfo, { merge: "atomic" }),
});

const virtualMachineBackupTrackerStatus = object({
  latestCheckpoint: backupCheckpoint,
  checkpointRedefinitionRequired: boolean(),
});

export const virtualMachineBackupTracker = whole({
  spec: needed(virtualMachineBackupTrackerSpec),
  status: virtualMachineBackupTrackerStatus,
});
export type VirtualMachineBackupTracker = Infer<typeof virtualMachineBackupTracker>;
