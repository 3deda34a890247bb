/**
 * Kinds that are kept, so that manifests apply, and that nothing acts on. The webhooks warn of each, and
 * docs/compatibility.md says it: both are made of this.
 */
export const INERT_KINDS: Readonly<Record<string, string>> = {
  VirtualMachineInstancePreset: "KubeVirt gave it up for instance types and preferences",
  VirtualMachinePool: "machines of one template: VirtualMachineInstanceReplicaSet",
  VirtualMachineSnapshot: "disks and memory are not kept apart yet",
  VirtualMachineSnapshotContent: "it is a snapshot's",
  VirtualMachineRestore: "there are no snapshots yet",
  VirtualMachineClone: "machines are not copied yet",
  VirtualMachineExport: "disks are not given out yet",
  VirtualMachineBackup: "changes of disks are not tracked",
  VirtualMachineBackupTracker: "changes of disks are not tracked",
  MigrationPolicy: "machines do not migrate yet",
  DataImportCron: "nothing is imported again by the clock",
  ObjectTransfer: "objects stay in their namespace",
  VolumeImportSource: "claims are not filled by populators: take a DataVolume",
  VolumeUploadSource: "claims are not filled by populators: take a DataVolume",
  VolumeCloneSource: "claims are not filled by populators: take a DataVolume",
};
