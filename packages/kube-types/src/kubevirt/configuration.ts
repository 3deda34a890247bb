import { labelSelector } from "../kubernetes/selectors.ts";
import {
  developerConfiguration,
  reloadableComponentConfiguration,
  seccompConfiguration,
  tlsConfiguration,
} from "./component-configuration.ts";
import { migrationConfiguration } from "./migration-configuration.ts";
import {
  networkConfiguration,
  resourceRequirementsWithoutClaims,
} from "./network-configuration.ts";
import { mediatedDevicesConfiguration, permittedHostDevices } from "./permitted-devices.ts";
import {
  type Infer,
  boolean,
  int64,
  integer,
  known,
  list,
  map,
  needed,
  nullable,
  object,
  oneOf,
  quantity,
  string,
} from "../schema/schema.ts";

const smBiosConfiguration = object({
  manufacturer: string(),
  product: string(),
  version: string(),
  sku: string(),
  family: string(),
});

const archSpecificConfiguration = object({
  ovmfPath: string(),
  emulatedMachines: list(string(), { merge: "atomic" }),
  machineType: string(),
});

const archConfiguration = object({
  amd64: archSpecificConfiguration,
  arm64: archSpecificConfiguration,
  ppc64le: archSpecificConfiguration,
  s390x: archSpecificConfiguration,
  defaultArchitecture: string(),
});

const supportContainerResources = object({
  type: needed(
    known("hotplug-disk", "container-disk", "virtiofs", "sidecar", "vmexport", "guest-console-log"),
  ),
  resources: needed(resourceRequirementsWithoutClaims),
});

const disableFreePageReporting = object({});

const disableSerialConsoleLog = object({});

const virtualMachineOptions = object({
  disableFreePageReporting,
  disableSerialConsoleLog,
});

const ksmConfiguration = object({ nodeLabelSelector: labelSelector });

const liveUpdateConfiguration = object({
  maxHotplugRatio: int64({ minimum: 0, maximum: 4294967295 }),
  maxCpuSockets: int64({ minimum: 0, maximum: 4294967295 }),
  maxGuest: quantity(),
});

const commonInstancetypesDeployment = object({ enabled: nullable(boolean()) });

const virtTemplateDeployment = object({ enabled: nullable(boolean()) });

const instancetypeConfiguration = object({
  referencePolicy: nullable(oneOf(["reference", "expand", "expandAll"])),
});

const hypervisorConfiguration = object({ name: oneOf(["kvm", "hyperv-direct"]) });

const changedBlockTrackingSelectors = object({
  namespaceLabelSelector: labelSelector,
  virtualMachineLabelSelector: labelSelector,
});

const persistentReservationConfiguration = object({ enabled: nullable(boolean()) });

const tdxAttestationConfiguration = object({
  enforced: boolean({ default: false }),
  qgsSocketPath: string({ default: "/var/run/tdx-qgs/qgs.socket" }),
});

const tdxConfiguration = object({ attestation: tdxAttestationConfiguration });

const confidentialComputeConfiguration = object({ tdx: nullable(tdxConfiguration) });

export const kubeVirtConfiguration = object({
  cpuModel: string(),
  cpuRequest: quantity(),
  developerConfiguration,
  emulatedMachines: list(string()),
  imagePullPolicy: known("Always", "Never", "IfNotPresent"),
  migrations: migrationConfiguration,
  machineType: string(),
  network: networkConfiguration,
  ovmfPath: string(),
  selinuxLauncherType: string(),
  defaultRuntimeClass: string(),
  smbios: smBiosConfiguration,
  architectureConfiguration: archConfiguration,
  evictionStrategy: known("None", "LiveMigrate", "LiveMigrateIfPossible", "External"),
  additionalGuestMemoryOverheadRatio: string(),
  supportContainerResources: list(supportContainerResources, { merge: "map", keys: ["type"] }),
  supportedGuestAgentVersions: list(string()),
  memBalloonStatsPeriod: int64({ minimum: 0, maximum: 4294967295 }),
  permittedHostDevices,
  mediatedDevicesConfiguration,
  minCPUModel: string(),
  obsoleteCPUModels: map(boolean()),
  virtualMachineInstancesPerNode: integer(),
  apiConfiguration: reloadableComponentConfiguration,
  webhookConfiguration: reloadableComponentConfiguration,
  controllerConfiguration: reloadableComponentConfiguration,
  handlerConfiguration: reloadableComponentConfiguration,
  tlsConfiguration,
  seccompConfiguration,
  vmStateStorageClass: string(),
  virtualMachineOptions,
  ksmConfiguration,
  autoCPULimitNamespaceLabelSelector: labelSelector,
  liveUpdateConfiguration,
  vmRolloutStrategy: nullable(oneOf(["Stage", "LiveUpdate"])),
  commonInstancetypesDeployment: nullable(commonInstancetypesDeployment),
  virtTemplateDeployment: nullable(virtTemplateDeployment),
  instancetype: nullable(instancetypeConfiguration),
  hypervisors: list(hypervisorConfiguration, { merge: "atomic", maxItems: 1 }),
  changedBlockTrackingLabelSelectors: nullable(changedBlockTrackingSelectors),
  persistentReservationConfiguration: nullable(persistentReservationConfiguration),
  confidentialCompute: nullable(confidentialComputeConfiguration),
  roleAggregationStrategy: oneOf(["AggregateToDefault", "Manual"]),
});
export type KubeVirtConfiguration = Infer<typeof kubeVirtConfiguration>;
