import { dataVolumeCheckpoint } from "./data-volume.ts";
import {
  dataVolumeBlankImage,
  dataVolumeSourceGCS,
  dataVolumeSourceHTTP,
  dataVolumeSourceImageIO,
  dataVolumeSourceRegistry,
  dataVolumeSourceS3,
  dataVolumeSourceVDDK,
} from "./import-source.ts";
import { typedLocalObjectReference } from "../kubernetes/references.ts";
import { whole } from "../schema/kind.ts";
import { type Infer, boolean, known, list, needed, object, string } from "../schema/schema.ts";

const importSourceType = object({
  http: dataVolumeSourceHTTP,
  s3: dataVolumeSourceS3,
  registry: dataVolumeSourceRegistry,
  gcs: dataVolumeSourceGCS,
  blank: dataVolumeBlankImage,
  imageio: dataVolumeSourceImageIO,
  vddk: dataVolumeSourceVDDK,
});

const volumeImportSourceSpec = object({
  source: importSourceType,
  preallocation: boolean(),
  contentType: known("kubevirt", "archive"),
  targetClaim: string(),
  checkpoints: list(dataVolumeCheckpoint),
  finalCheckpoint: boolean(),
});

const volumeImportSourceStatus = object({});

export const volumeImportSource = whole({
  spec: needed(volumeImportSourceSpec),
  status: volumeImportSourceStatus,
});
export type VolumeImportSource = Infer<typeof volumeImportSource>;

const volumeUploadSourceSpec = object({
  contentType: known("kubevirt", "archive"),
  preallocation: boolean(),
});

const volumeUploadSourceStatus = object({});

export const volumeUploadSource = whole({
  spec: needed(volumeUploadSourceSpec),
  status: volumeUploadSourceStatus,
});
export type VolumeUploadSource = Infer<typeof volumeUploadSource>;

const volumeCloneSourceSpec = object({
  source: needed(typedLocalObjectReference),
  preallocation: boolean(),
  priorityClassName: string(),
});

export const volumeCloneSource = whole({ spec: needed(volumeCloneSourceSpec) });
export type VolumeCloneSource = Infer<typeof volumeCloneSource>;
