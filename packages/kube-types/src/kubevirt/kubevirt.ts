import { localObjectReference } from "../kubernetes/references.ts";
import { affinity, toleration } from "../kubernetes/scheduling.ts";
import { kubeVirtConfiguration } from "./configuration.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  int32,
  int64,
  integer,
  known,
  list,
  map,
  needed,
  nullable,
  object,
  string,
  time,
} from "../schema/schema.ts";

const kubeVirtWorkloadUpdateStrategy = object({
  workloadUpdateMethods: list(known("LiveMigrate", "Evict"), { merge: "atomic" }),
  batchEvictionSize: integer(),
  batchEvictionInterval: string(),
});

const certConfig = object({ duration: string(), renewBefore: string() });

const kubeVirtSelfSignConfiguration = object({
  caRotateInterval: string(),
  certRotateInterval: string(),
  caOverlapInterval: string(),
  ca: certConfig,
  server: certConfig,
});

const kubeVirtCertificateRotateStrategy = object({ selfSigned: kubeVirtSelfSignConfiguration });

const nodePlacement = object({
  nodeSelector: map(string()),
  affinity,
  tolerations: list(toleration),
});

const componentConfig = object({
  nodePlacement,
  replicas: int32({ minimum: 0, maximum: 255 }),
});

const customizeComponentsPatch = object({
  resourceName: needed(string({ minLength: 1 })),
  resourceType: needed(string({ minLength: 1 })),
  patch: needed(string()),
  type: needed(known("json", "merge", "strategic")),
});

const flags = object({ api: map(string()), controller: map(string()), handler: map(string()) });

const customizeComponents = object({
  patches: list(customizeComponentsPatch, { merge: "atomic" }),
  flags,
});

const kubeVirtSpec = object({
  imageTag: string(),
  imageRegistry: string(),
  imagePullPolicy: known("Always", "Never", "IfNotPresent"),
  imagePullSecrets: list(localObjectReference, { merge: "atomic" }),
  monitorNamespace: string(),
  serviceMonitorNamespace: string(),
  monitorAccount: string(),
  workloadUpdateStrategy: kubeVirtWorkloadUpdateStrategy,
  uninstallStrategy: known("RemoveWorkloads", "BlockUninstallIfWorkloadsExist"),
  certificateRotateStrategy: kubeVirtCertificateRotateStrategy,
  productVersion: string(),
  productName: string(),
  productComponent: string(),
  synchronizationPort: string(),
  configuration: kubeVirtConfiguration,
  infra: componentConfig,
  workloads: componentConfig,
  customizeComponents,
});

const kubeVirtCondition = object({
  type: needed(known("Synchronized", "Created", "Available", "Progressing", "Degraded")),
  status: needed(known("True", "False", "Unknown")),
  lastProbeTime: nullable(time()),
  lastTransitionTime: nullable(time()),
  reason: string(),
  message: string(),
});

const generationStatus = object({
  group: needed(string()),
  resource: needed(string()),
  namespace: string(),
  name: needed(string()),
  lastGeneration: needed(int64()),
  hash: string(),
});

const kubeVirtStatus = object({
  phase: known("Deploying", "Deployed", "Deleting", "Deleted"),
  conditions: list(kubeVirtCondition),
  operatorVersion: string(),
  targetKubeVirtRegistry: string(),
  targetKubeVirtVersion: string(),
  targetDeploymentConfig: string(),
  targetDeploymentID: string(),
  observedKubeVirtRegistry: string(),
  observedKubeVirtVersion: string(),
  observedDeploymentConfig: string(),
  observedDeploymentID: string(),
  outdatedVirtualMachineInstanceWorkloads: integer(),
  observedGeneration: int64(),
  defaultArchitecture: string(),
  generations: list(generationStatus, { merge: "atomic" }),
  synchronizationAddresses: list(string(), { merge: "atomic" }),
});

export const kubeVirt = whole({ spec: needed(kubeVirtSpec), status: kubeVirtStatus });
export type KubeVirt = Infer<typeof kubeVirt>;
