/** What `kubectl explain` says of each kind, by its name. */
export const KIND_TEXTS: Readonly<Record<string, string>> = {
  KubeVirt: "Settings of the cluster for machines; the oldest object counts.",
  VirtualMachine:
    "A machine that is there whether it runs or not: a template, and when it is to run.",
  VirtualMachineInstance: "A machine that runs, or is about to: one pod for as long as it lives.",
  VirtualMachineInstanceMigration: "Asks that an instance goes on on another node.",
  VirtualMachineInstancePreset: "Fields for instances that a selector chooses. Nothing acts on it.",
  VirtualMachineInstanceReplicaSet: "As many equal instances as it says.",
  MigrationPolicy: "How instances that it chooses migrate.",
  VirtualMachineBackup: "A backup of a machine's disks.",
  VirtualMachineBackupTracker: "What was backed up last, for backups of changes.",
  VirtualMachineClone: "Makes a machine out of another, or of a snapshot of one.",
  VirtualMachineClusterInstancetype: "A size that machines of all namespaces may have by its name.",
  VirtualMachineClusterPreference: "What machines of all namespaces may prefer by its name.",
  VirtualMachineExport: "Makes a machine's volumes ready to be downloaded.",
  VirtualMachineInstancetype: "A size that machines of its namespace may have by its name.",
  VirtualMachinePool: "As many machines as it says, each with volumes of its own.",
  VirtualMachinePreference: "What machines of its namespace may prefer by its name.",
  VirtualMachineRestore: "Makes a machine what it was in a snapshot.",
  VirtualMachineSnapshot: "What a machine and its volumes were at one moment.",
  VirtualMachineSnapshotContent: "What a snapshot of a machine holds; controllers write it.",
  CDI: "What is installed for volumes; nothing is to be set in it.",
  CDIConfig: "Settings for volumes as they are; controllers write the status.",
  DataImportCron: "Fills a DataSource anew from time to time.",
  DataSource: "A name for a volume that others are copied from.",
  DataVolume: "A claim, and what it is filled with before a machine uses it.",
  ObjectTransfer: "Moves a volume to another namespace.",
  StorageProfile: "What a storage class is best asked for.",
  VolumeCloneSource: "A volume that a claim may be filled from, as dataSourceRef.",
  VolumeImportSource: "An image that a claim may be filled from, as dataSourceRef.",
  VolumeUploadSource: "Says that a claim, by dataSourceRef, waits for an upload.",
};

/** Of every kind alike. */
export const COMMON_TEXTS: Readonly<Record<string, string>> = {
  spec: "What is wanted.",
  status: "What is, as the controllers see it.",
};
