import { podResources } from "../kubernetes/claims.ts";
import { localObjectReference } from "../kubernetes/references.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  boolean,
  fraction,
  int32,
  known,
  list,
  map,
  needed,
  nullable,
  object,
  string,
} from "../schema/schema.ts";

const importProxy = object({
  HTTPProxy: string(),
  HTTPSProxy: string(),
  noProxy: string(),
  trustedCAProxy: string(),
});

const filesystemOverhead = object({
  global: fraction(),
  storageClass: map(fraction()),
});

const oldTLSProfile = object({});

const intermediateTLSProfile = object({});

const modernTLSProfile = object({});

const customTLSProfile = object({
  ciphers: needed(list(string())),
  minTLSVersion: needed(known("VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13")),
});

const tlsSecurityProfile = object({
  type: known("Old", "Intermediate", "Modern", "Custom"),
  old: nullable(oldTLSProfile),
  intermediate: nullable(intermediateTLSProfile),
  modern: nullable(modernTLSProfile),
  custom: nullable(customTLSProfile),
});

export const cdiConfigSpec = object({
  uploadProxyURLOverride: string(),
  importProxy,
  scratchSpaceStorageClass: string(),
  podResourceRequirements: podResources,
  featureGates: list(string()),
  filesystemOverhead,
  preallocation: boolean(),
  insecureRegistries: list(string()),
  dataVolumeTTLSeconds: int32(),
  tlsSecurityProfile,
  imagePullSecrets: list(localObjectReference),
  logVerbosity: int32(),
});

const cdiConfigStatus = object({
  uploadProxyURL: string(),
  uploadProxyCA: string(),
  importProxy,
  scratchSpaceStorageClass: string(),
  defaultPodResourceRequirements: podResources,
  filesystemOverhead,
  preallocation: boolean(),
  imagePullSecrets: list(localObjectReference),
});

export const cdiConfig = whole({ spec: needed(cdiConfigSpec), status: cdiConfigStatus });
export type CdiConfig = Infer<typeof cdiConfig>;
