export { uploadTokenRequest } from "./cdi/upload-token.ts";
export { CDI, CDI_CONFIG, DATA_SOURCE, DATA_VOLUME, STORAGE_PROFILE } from "./kinds-cdi.ts";
export {
  KUBEVIRT,
  VIRTUAL_MACHINE,
  VIRTUAL_MACHINE_INSTANCE,
  VIRTUAL_MACHINE_INSTANCE_MIGRATION,
  VIRTUAL_MACHINE_INSTANCE_REPLICA_SET,
} from "./kinds-kubevirt.ts";
export { INERT_KINDS } from "./inert-kinds.ts";
export { KINDS, kindOfObject } from "./kinds.ts";
export { crdOf, crdYaml } from "./schema/crd.ts";
export { PART_OF } from "./schema/part-of.ts";
export { crdName } from "./schema/kind.ts";
export type { Column, Kind, Version } from "./schema/kind.ts";
export { fullSample } from "./schema/sample.ts";
export { openApiOf } from "./schema/open-api.ts";
export type { OpenApi } from "./schema/open-api.ts";
export type { Json } from "./schema/node.ts";
export type { ObjectMeta, OwnerReference } from "./schema/metadata.ts";
export { checkShape } from "./schema/check.ts";
export { RESERVED_LABELS, checkChange } from "./checks/change.ts";
export { checkObject } from "./checks/object.ts";
export { Report } from "./checks/report.ts";
export type { Cause, Reason } from "./checks/report.ts";
export { invalidStatus } from "./checks/status.ts";
export { allDisks } from "./defaults/devices.ts";
export { MAX_PROCESSORS } from "./defaults/processor.ts";
export { defaultInstanceSpec, defaultNetworks } from "./defaults/instance-spec.ts";
export {
  INSTANCE_FINALIZER,
  MACHINE_FINALIZER,
  defaultInstance,
  defaultMachine,
} from "./defaults/objects.ts";
export type { Fresh } from "./defaults/objects.ts";
export { CLUSTER_DEFAULTS } from "./defaults/settings.ts";
export type { ClusterDefaults } from "./defaults/settings.ts";
export type { InvalidStatus } from "./checks/status.ts";
export type { VirtualMachineBackup, VirtualMachineBackupTracker } from "./backup/backup.ts";
export type { CdiConfig } from "./cdi/config.ts";
export type { DataImportCron } from "./cdi/data-import-cron.ts";
export type { DataSource } from "./cdi/data-source.ts";
export type { DataVolume, DataVolumeSpec, StorageSpec } from "./cdi/data-volume.ts";
export type { ImportSource } from "./cdi/import-source.ts";
export type { Cdi } from "./cdi/installation.ts";
export type { ObjectTransfer } from "./cdi/object-transfer.ts";
export type {
  VolumeCloneSource,
  VolumeImportSource,
  VolumeUploadSource,
} from "./cdi/populators.ts";
export type { StorageProfile } from "./cdi/storage-profile.ts";
export type { UploadTokenRequest } from "./cdi/upload-token.ts";
export type { VirtualMachineClone } from "./clone/clone.ts";
export type { VirtualMachineExport } from "./export/export.ts";
export type {
  VirtualMachineClusterInstancetype,
  VirtualMachineInstancetype,
} from "./instancetype/instancetype.ts";
export type {
  VirtualMachineClusterPreference,
  VirtualMachinePreference,
} from "./instancetype/preference.ts";
export type { PersistentVolumeClaimSpec } from "./kubernetes/claims.ts";
export type { PodDNSConfig } from "./kubernetes/pod-parts.ts";
export type { Affinity, Toleration, TopologySpreadConstraint } from "./kubernetes/scheduling.ts";
export type { LabelSelector } from "./kubernetes/selectors.ts";
export type { AccessCredential } from "./kubevirt/access-credentials.ts";
export type { Clock } from "./kubevirt/clock.ts";
export type { KubeVirtConfiguration } from "./kubevirt/configuration.ts";
export type { Devices } from "./kubevirt/devices.ts";
export type { Disk } from "./kubevirt/disks.ts";
export type { DomainSpec } from "./kubevirt/domain.ts";
export type { Features } from "./kubevirt/features.ts";
export type { Firmware } from "./kubevirt/firmware.ts";
export type { VirtualMachineInstance, VirtualMachineInstancePreset } from "./kubevirt/instance.ts";
export type { VirtualMachineInstanceSpec } from "./kubevirt/instance-spec.ts";
export type {
  VirtualMachineInstanceCondition,
  VirtualMachineInstanceNetworkInterface,
  VirtualMachineInstanceStatus,
} from "./kubevirt/instance-status.ts";
export type { Interface } from "./kubevirt/interfaces.ts";
export type { KubeVirt } from "./kubevirt/kubevirt.ts";
export type { VirtualMachine } from "./kubevirt/machine.ts";
export type { VirtualMachineSpec } from "./kubevirt/machine-spec.ts";
export type { VirtualMachineCondition, VirtualMachineStatus } from "./kubevirt/machine-status.ts";
export type { Memory } from "./kubevirt/memory.ts";
export type { VirtualMachineInstanceMigration } from "./kubevirt/migration.ts";
export type { Network } from "./kubevirt/networks.ts";
export type { Probe } from "./kubevirt/probe.ts";
export type { CPU } from "./kubevirt/processor.ts";
export type { VirtualMachineInstanceReplicaSet } from "./kubevirt/replica-set.ts";
export type { VolumeStatus } from "./kubevirt/volume-status.ts";
export type { Volume } from "./kubevirt/volumes.ts";
export type { MigrationPolicy } from "./migrations/policy.ts";
export type { VirtualMachinePool } from "./pool/pool.ts";
export type { VirtualMachineSnapshotContent } from "./snapshot/content.ts";
export type { VirtualMachineRestore } from "./snapshot/restore.ts";
export type { VirtualMachineSnapshot } from "./snapshot/snapshot.ts";
