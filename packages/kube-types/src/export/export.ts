import { typedLocalObjectReference } from "../kubernetes/references.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  known,
  list,
  needed,
  nullable,
  object,
  string,
  time,
} from "../schema/schema.ts";

const virtualMachineExportSpec = object({
  source: needed(typedLocalObjectReference),
  tokenSecretRef: string(),
  ttlDuration: string(),
});

const virtualMachineExportVolumeFormat = object({
  format: needed(known("raw", "gzip", "dir", "tar.gz")),
  url: needed(string()),
});

const virtualMachineExportVolume = object({
  name: needed(string()),
  formats: list(virtualMachineExportVolumeFormat, { merge: "map", keys: ["format"] }),
});

const virtualMachineExportBackupEndpoint = object({
  endpoint: needed(known("map", "data")),
  url: needed(string()),
});

const virtualMachineExportBackup = object({
  name: needed(string()),
  endpoints: list(virtualMachineExportBackupEndpoint, { merge: "map", keys: ["endpoint"] }),
});

const virtualMachineExportManifest = object({
  type: needed(known("all", "auth-header-secret", "oci")),
  url: needed(string()),
});

const virtualMachineExportLink = object({
  cert: needed(string()),
  volumes: list(virtualMachineExportVolume, { merge: "map", keys: ["name"] }),
  backups: list(virtualMachineExportBackup, { merge: "map", keys: ["name"] }),
  manifests: list(virtualMachineExportManifest, { merge: "map", keys: ["type"] }),
});

const virtualMachineExportLinks = object({
  internal: virtualMachineExportLink,
  external: virtualMachineExportLink,
});

const exportCondition = object({
  type: needed(known("Ready", "PVCReady", "VolumesCreated", "OCIReady")),
  status: needed(known("True", "False", "Unknown")),
  lastProbeTime: nullable(time()),
  lastTransitionTime: nullable(time()),
  reason: string(),
  message: string(),
});

const virtualMachineExportStatus = object({
  phase: known("Pending", "Ready", "Terminated", "Skipped"),
  links: virtualMachineExportLinks,
  tokenSecretRef: string(),
  ttlExpirationTime: time(),
  serviceName: string(),
  virtualMachineName: string(),
  conditions: list(exportCondition, { merge: "atomic" }),
});

export const virtualMachineExport = whole({
  spec: needed(virtualMachineExportSpec),
  status: virtualMachineExportStatus,
});
export type VirtualMachineExport = Infer<typeof virtualMachineExport>;
