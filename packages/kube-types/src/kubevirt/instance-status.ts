import { changedBlockTrackingStatus } from "./backup-status.ts";
import { machine } from "./firmware.ts";
import { virtualMachineInstanceMigrationState } from "./migration-state.ts";
import { storageMigratedVolumeInfo, volumeStatus } from "./volume-status.ts";
import {
  type Infer,
  int32,
  int64,
  known,
  list,
  map,
  needed,
  nullable,
  object,
  quantity,
  string,
  time,
} from "../schema/schema.ts";

const virtualMachineInstanceCondition = object({
  type: needed(
    known(
      "Provisioning",
      "Ready",
      "Synchronized",
      "Paused",
      "AgentConnected",
      "AccessCredentialsSynchronized",
      "AgentVersionNotSupported",
      "LiveMigratable",
      "HotVCPUChange",
      "HotMemoryChange",
      "VolumesChange",
      "DataVolumesReady",
      "StorageLiveMigratable",
      "DecentralizedLiveMigrationFailure",
      "MigrationRequired",
      "EvictionRequested",
      "SoftwareEmulation",
    ),
  ),
  status: needed(known("True", "False", "Unknown")),
  lastProbeTime: nullable(time()),
  lastTransitionTime: nullable(time()),
  reason: string(),
  message: string(),
});
export type VirtualMachineInstanceCondition = Infer<typeof virtualMachineInstanceCondition>;

const virtualMachineInstancePhaseTransitionTimestamp = object({
  phase: known(
    "Pending",
    "Scheduling",
    "Scheduled",
    "Running",
    "Succeeded",
    "Failed",
    "WaitingForSync",
    "Unknown",
  ),
  phaseTransitionTimestamp: time(),
});

const virtualMachineInstanceNetworkInterface = object({
  ipAddress: string(),
  mac: string(),
  name: string(),
  ipAddresses: list(string()),
  podInterfaceName: string(),
  interfaceName: string(),
  infoSource: string(),
  queueCount: int32(),
  linkState: string(),
});
export type VirtualMachineInstanceNetworkInterface = Infer<
  typeof virtualMachineInstanceNetworkInterface
>;

const virtualMachineInstanceGuestOSInfo = object({
  name: string(),
  kernelRelease: string(),
  version: string(),
  prettyName: string(),
  versionId: string(),
  kernelVersion: string(),
  machine: string(),
  id: string(),
});

const kernelInfo = object({ checksum: int64({ minimum: 0, maximum: 4294967295 }) });

const initrdInfo = object({ checksum: int64({ minimum: 0, maximum: 4294967295 }) });

const kernelBootStatus = object({ kernelInfo, initrdInfo: initrdInfo });

const topologyHints = object({ tscFrequency: int64() });

const cpuTopology = object({
  cores: int64({ minimum: 0, maximum: 4294967295 }),
  sockets: int64({ minimum: 0, maximum: 4294967295 }),
  threads: int64({ minimum: 0, maximum: 4294967295 }),
});

const memoryStatus = object({
  guestAtBoot: quantity(),
  guestCurrent: quantity(),
  guestRequested: quantity(),
  memoryOverhead: quantity(),
});

export const virtualMachineInstanceStatus = object({
  nodeName: string(),
  reason: string(),
  conditions: list(virtualMachineInstanceCondition),
  phase: known(
    "Pending",
    "Scheduling",
    "Scheduled",
    "Running",
    "Succeeded",
    "Failed",
    "WaitingForSync",
    "Unknown",
  ),
  phaseTransitionTimestamps: list(virtualMachineInstancePhaseTransitionTimestamp, {
    merge: "atomic",
  }),
  interfaces: list(virtualMachineInstanceNetworkInterface),
  guestOSInfo: virtualMachineInstanceGuestOSInfo,
  migrationState: virtualMachineInstanceMigrationState,
  migrationMethod: known("BlockMigration", "LiveMigration"),
  migrationTransport: known("Unix"),
  qosClass: known("Guaranteed", "Burstable", "BestEffort"),
  launcherContainerImageVersion: string(),
  evacuationNodeName: string(),
  activePods: map(string()),
  volumeStatus: list(volumeStatus, { merge: "atomic" }),
  kernelBootStatus,
  fsFreezeStatus: string(),
  topologyHints,
  virtualMachineRevisionName: string(),
  runtimeUser: int64({ minimum: 0 }),
  VSOCKCID: int64({ minimum: 0, maximum: 4294967295 }),
  selinuxContext: string(),
  machine,
  currentCPUTopology: cpuTopology,
  memory: memoryStatus,
  migratedVolumes: list(storageMigratedVolumeInfo, { merge: "atomic" }),
  changedBlockTracking: nullable(changedBlockTrackingStatus),
});
export type VirtualMachineInstanceStatus = Infer<typeof virtualMachineInstanceStatus>;
