import { virtualMachineBackup, virtualMachineBackupTracker } from "./backup/backup.ts";
import { virtualMachineClone } from "./clone/clone.ts";
import { PHASE, REPLICAS } from "./columns.ts";
import { virtualMachineExport } from "./export/export.ts";
import {
  virtualMachineClusterInstancetype,
  virtualMachineInstancetype,
} from "./instancetype/instancetype.ts";
import {
  virtualMachineClusterPreference,
  virtualMachinePreference,
} from "./instancetype/preference.ts";
import { migrationPolicy } from "./migrations/policy.ts";
import { virtualMachinePool } from "./pool/pool.ts";
import { type Column, kind } from "./schema/kind.ts";
import { virtualMachineSnapshotContent } from "./snapshot/content.ts";
import { virtualMachineRestore } from "./snapshot/restore.ts";
import { virtualMachineSnapshot } from "./snapshot/snapshot.ts";

const SNAPSHOT = "snapshot.kubevirt.io";
const INSTANCETYPE = "instancetype.kubevirt.io";
const BACKUP = "backup.kubevirt.io";
const current = [{ name: "v1beta1" }] as const;
const withAlpha = [{ name: "v1beta1" }, { name: "v1alpha1", deprecated: true }] as const;
const alpha = [{ name: "v1alpha1" }] as const;

const SOURCE: readonly Column[] = [
  { name: "SourceKind", type: "string", path: ".spec.source.kind" },
  { name: "SourceName", type: "string", path: ".spec.source.name" },
];
const CREATED: readonly Column[] = [
  { name: "ReadyToUse", type: "boolean", path: ".status.readyToUse" },
  { name: "CreationTime", type: "date", path: ".status.creationTime" },
  { name: "Error", type: "string", path: ".status.error.message" },
];

export const VIRTUAL_MACHINE_POOL = kind(
  "pool.kubevirt.io",
  "VirtualMachinePool",
  virtualMachinePool,
  {
    shortNames: ["vmpool", "vmpools"],
    versions: withAlpha,
    status: true,
    scale: true,
    columns: REPLICAS,
  },
);

export const VIRTUAL_MACHINE_SNAPSHOT = kind(
  SNAPSHOT,
  "VirtualMachineSnapshot",
  virtualMachineSnapshot,
  {
    shortNames: ["vmsnapshot", "vmsnapshots"],
    versions: withAlpha,
    status: true,
    columns: [...SOURCE, PHASE, ...CREATED],
  },
);

export const VIRTUAL_MACHINE_SNAPSHOT_CONTENT = kind(
  SNAPSHOT,
  "VirtualMachineSnapshotContent",
  virtualMachineSnapshotContent,
  {
    shortNames: ["vmsnapshotcontent", "vmsnapshotcontents"],
    versions: withAlpha,
    status: true,
    columns: CREATED,
  },
);

export const VIRTUAL_MACHINE_RESTORE = kind(
  SNAPSHOT,
  "VirtualMachineRestore",
  virtualMachineRestore,
  {
    shortNames: ["vmrestore", "vmrestores"],
    versions: withAlpha,
    status: true,
    columns: [
      { name: "TargetKind", type: "string", path: ".spec.target.kind" },
      { name: "TargetName", type: "string", path: ".spec.target.name" },
      { name: "Complete", type: "boolean", path: ".status.complete" },
      { name: "RestoreTime", type: "date", path: ".status.restoreTime" },
    ],
  },
);

export const VIRTUAL_MACHINE_CLONE = kind(
  "clone.kubevirt.io",
  "VirtualMachineClone",
  virtualMachineClone,
  {
    shortNames: ["vmclone", "vmclones"],
    versions: withAlpha,
    status: true,
    columns: [
      PHASE,
      { name: "SourceVirtualMachine", type: "string", path: ".spec.source.name" },
      { name: "TargetVirtualMachine", type: "string", path: ".spec.target.name" },
    ],
  },
);

export const VIRTUAL_MACHINE_EXPORT = kind(
  "export.kubevirt.io",
  "VirtualMachineExport",
  virtualMachineExport,
  {
    shortNames: ["vmexport", "vmexports"],
    versions: [{ name: "v1" }, { name: "v1beta1", deprecated: true }],
    status: true,
    columns: [...SOURCE, PHASE],
  },
);

export const VIRTUAL_MACHINE_INSTANCETYPE = kind(
  INSTANCETYPE,
  "VirtualMachineInstancetype",
  virtualMachineInstancetype,
  { shortNames: ["vminstancetype", "vminstancetypes", "vmf", "vmfs"], versions: current },
);

export const VIRTUAL_MACHINE_CLUSTER_INSTANCETYPE = kind(
  INSTANCETYPE,
  "VirtualMachineClusterInstancetype",
  virtualMachineClusterInstancetype,
  {
    shortNames: ["vmclusterinstancetype", "vmclusterinstancetypes", "vmcf", "vmcfs"],
    scope: "Cluster",
    versions: current,
  },
);

export const VIRTUAL_MACHINE_PREFERENCE = kind(
  INSTANCETYPE,
  "VirtualMachinePreference",
  virtualMachinePreference,
  { shortNames: ["vmpref", "vmprefs", "vmp", "vmps"], versions: current },
);

export const VIRTUAL_MACHINE_CLUSTER_PREFERENCE = kind(
  INSTANCETYPE,
  "VirtualMachineClusterPreference",
  virtualMachineClusterPreference,
  { shortNames: ["vmcp", "vmcps"], scope: "Cluster", versions: current },
);

export const MIGRATION_POLICY = kind("migrations.kubevirt.io", "MigrationPolicy", migrationPolicy, {
  plural: "migrationpolicies",
  shortNames: [],
  scope: "Cluster",
  versions: alpha,
  status: true,
});

export const VIRTUAL_MACHINE_BACKUP = kind(BACKUP, "VirtualMachineBackup", virtualMachineBackup, {
  shortNames: ["vmbackup", "vmbackups"],
  versions: alpha,
  status: true,
  columns: [
    ...SOURCE,
    { name: "Type", type: "string", path: ".status.type" },
    { name: "CheckpointName", type: "string", path: ".status.checkpointName" },
  ],
});

export const VIRTUAL_MACHINE_BACKUP_TRACKER = kind(
  BACKUP,
  "VirtualMachineBackupTracker",
  virtualMachineBackupTracker,
  {
    shortNames: ["vmbackuptracker", "vmbackuptrackers"],
    versions: alpha,
    status: true,
    columns: [
      ...SOURCE,
      { name: "LatestCheckpoint", type: "string", path: ".status.latestCheckpoint.name" },
      { name: "CheckpointTime", type: "date", path: ".status.latestCheckpoint.creationTime" },
    ],
  },
);
