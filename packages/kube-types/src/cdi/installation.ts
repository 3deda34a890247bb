import { cdiConfigSpec } from "./config.ts";
import { operatorCondition, operatorNodePlacement } from "../kubernetes/operator.ts";
import { affinity, toleration } from "../kubernetes/scheduling.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  int32,
  known,
  list,
  map,
  needed,
  object,
  oneOf,
  string,
} from "../schema/schema.ts";

const cdiComponentConfig = object({
  nodeSelector: map(string()),
  affinity,
  tolerations: list(toleration),
  deploymentReplicas: int32(),
  apiServerReplicas: int32(),
  uploadProxyReplicas: int32(),
});

const cdiComponentsPatch = object({
  resourceName: needed(string({ minLength: 1 })),
  resourceType: needed(string({ minLength: 1 })),
  patch: needed(string()),
  type: needed(known("json", "merge", "strategic")),
});

const cdiFlags = object({
  api: map(string()),
  controller: map(string()),
  uploadProxy: map(string()),
});

const cdiCustomizeComponents = object({
  patches: list(cdiComponentsPatch, { merge: "atomic" }),
  flags: cdiFlags,
});

const cdiCertificate = object({ duration: string(), renewBefore: string() });

const cdiCertificates = object({
  ca: cdiCertificate,
  server: cdiCertificate,
  client: cdiCertificate,
});

const cdiSpec = object({
  imagePullPolicy: oneOf(["Always", "IfNotPresent", "Never"]),
  uninstallStrategy: oneOf(["RemoveWorkloads", "BlockUninstallIfWorkloadsExist"]),
  infra: cdiComponentConfig,
  workload: operatorNodePlacement,
  customizeComponents: cdiCustomizeComponents,
  cloneStrategyOverride: oneOf(["copy", "snapshot", "csi-clone"]),
  config: cdiConfigSpec,
  certConfig: cdiCertificates,
  priorityClass: string(),
});

const cdiStatus = object({
  phase: string(),
  conditions: list(operatorCondition),
  operatorVersion: string(),
  targetVersion: string(),
  observedVersion: string(),
});

export const cdi = whole({ spec: needed(cdiSpec), status: cdiStatus });
export type Cdi = Infer<typeof cdi>;
