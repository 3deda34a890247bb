import { type Infer, boolean, known, list, needed, object, string } from "../schema/schema.ts";

export const dataVolumeSourceHTTP = object({
  url: needed(string()),
  secretRef: string(),
  certConfigMap: string(),
  extraHeaders: list(string()),
  secretExtraHeaders: list(string()),
  checksum: string(),
});

export const dataVolumeSourceS3 = object({
  url: needed(string()),
  secretRef: string(),
  certConfigMap: string(),
});

export const dataVolumeSourceGCS = object({ url: needed(string()), secretRef: string() });

const platformOptions = object({ architecture: string() });

export const dataVolumeSourceRegistry = object({
  url: string(),
  imageStream: string(),
  pullMethod: known("pod", "node"),
  secretRef: string(),
  certConfigMap: string(),
  platform: platformOptions,
});

export const dataVolumeSourcePVC = object({ namespace: needed(string()), name: needed(string()) });

const dataVolumeSourceUpload = object({});

export const dataVolumeBlankImage = object({});

export const dataVolumeSourceImageIO = object({
  url: needed(string()),
  diskId: needed(string()),
  secretRef: string(),
  certConfigMap: string(),
  insecureSkipVerify: boolean(),
});

export const dataVolumeSourceVDDK = object({
  url: string(),
  uuid: string(),
  backingFile: string(),
  thumbprint: string(),
  secretRef: string(),
  initImageURL: string(),
  extraArgs: string(),
});

export const dataVolumeSourceSnapshot = object({
  namespace: needed(string()),
  name: needed(string()),
});

export const importSource = object({
  http: dataVolumeSourceHTTP,
  s3: dataVolumeSourceS3,
  gcs: dataVolumeSourceGCS,
  registry: dataVolumeSourceRegistry,
  pvc: dataVolumeSourcePVC,
  upload: dataVolumeSourceUpload,
  blank: dataVolumeBlankImage,
  imageio: dataVolumeSourceImageIO,
  vddk: dataVolumeSourceVDDK,
  snapshot: dataVolumeSourceSnapshot,
});
export type ImportSource = Infer<typeof importSource>;

export const dataVolumeSourceReference = object({
  kind: needed(string()),
  namespace: string(),
  name: needed(string()),
});
