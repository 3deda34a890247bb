import { downwardAPIVolumeFile } from "../kubernetes/pod-parts.ts";
import { localObjectReference } from "../kubernetes/references.ts";
import {
  type Infer,
  boolean,
  known,
  list,
  needed,
  object,
  quantity,
  ruled,
  string,
} from "../schema/schema.ts";

const hostDisk = object({
  path: needed(string()),
  type: needed(known("DiskOrCreate", "Disk")),
  capacity: quantity(),
  shared: boolean(),
});

export const persistentVolumeClaimVolumeSource = object({
  claimName: needed(string()),
  readOnly: boolean(),
  hotpluggable: boolean(),
});

const cloudInitNoCloudSource = object({
  secretRef: localObjectReference,
  userDataBase64: string(),
  userData: string(),
  networkDataSecretRef: localObjectReference,
  networkDataBase64: string(),
  networkData: string(),
});

const cloudInitConfigDriveSource = object({
  secretRef: localObjectReference,
  userDataBase64: string(),
  userData: string(),
  networkDataSecretRef: localObjectReference,
  networkDataBase64: string(),
  networkData: string(),
});

const sysprepSource = object({ secret: localObjectReference, configMap: localObjectReference });

const containerDiskSource = object({
  image: needed(string()),
  imagePullSecret: string(),
  path: string(),
  imagePullPolicy: known("Always", "Never", "IfNotPresent"),
});

const podClaimSource = object({ claimName: needed(string()), readOnly: boolean() });

const ephemeralVolumeSource = object({ persistentVolumeClaim: podClaimSource });

const emptyDiskSource = object({ capacity: needed(quantity()) });

export const dataVolumeSource = object({ name: needed(string()), hotpluggable: boolean() });

const configMapVolumeSource = object({
  name: string({ default: "" }),
  optional: boolean(),
  volumeLabel: string(),
});

const secretVolumeSource = object({
  secretName: string(),
  optional: boolean(),
  volumeLabel: string(),
});

const downwardAPIVolumeSource = object({
  fields: list(downwardAPIVolumeFile),
  volumeLabel: string(),
});

const serviceAccountVolumeSource = object({ serviceAccountName: string() });

const downwardMetricsVolumeSource = object({});

const memoryDumpVolumeSource = object({
  claimName: needed(string()),
  readOnly: boolean(),
  hotpluggable: boolean(),
});

const containerPathVolumeSource = object({
  path: needed(
    ruled(
      string({ maxLength: 4096, example: "/of/the/container" }),
      { rule: "self.startsWith('/')", message: "must begin with /" },
      { rule: "!self.contains('..')", message: "must not have .. in it" },
    ),
  ),
  readOnly: ruled(boolean({ default: true }), {
    rule: "self",
    message: "must be true: the guest only reads it",
  }),
});

export const volume = object({
  name: needed(string()),
  hostDisk,
  persistentVolumeClaim: persistentVolumeClaimVolumeSource,
  cloudInitNoCloud: cloudInitNoCloudSource,
  cloudInitConfigDrive: cloudInitConfigDriveSource,
  sysprep: sysprepSource,
  containerDisk: containerDiskSource,
  ephemeral: ephemeralVolumeSource,
  emptyDisk: emptyDiskSource,
  dataVolume: dataVolumeSource,
  configMap: configMapVolumeSource,
  secret: secretVolumeSource,
  downwardAPI: downwardAPIVolumeSource,
  serviceAccount: serviceAccountVolumeSource,
  downwardMetrics: downwardMetricsVolumeSource,
  memoryDump: memoryDumpVolumeSource,
  containerPath: containerPathVolumeSource,
});
export type Volume = Infer<typeof volume>;

export const utilityVolume = object({
  name: needed(string()),
  claimName: needed(string()),
  readOnly: boolean(),
  type: known("MemoryDump", "Backup"),
});
