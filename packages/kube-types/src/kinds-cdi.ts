import { cdiConfig } from "./cdi/config.ts";
import { dataImportCron } from "./cdi/data-import-cron.ts";
import { dataSource } from "./cdi/data-source.ts";
import { dataVolume } from "./cdi/data-volume.ts";
import { cdi } from "./cdi/installation.ts";
import { objectTransfer } from "./cdi/object-transfer.ts";
import { volumeCloneSource, volumeImportSource, volumeUploadSource } from "./cdi/populators.ts";
import { storageProfile } from "./cdi/storage-profile.ts";
import { AGE, PHASE } from "./columns.ts";
import { kind } from "./schema/kind.ts";

const GROUP = "cdi.kubevirt.io";
const versions = [{ name: "v1beta1" }] as const;

export const DATA_VOLUME = kind(GROUP, "DataVolume", dataVolume, {
  shortNames: ["dv", "dvs"],
  versions,
  status: true,
  columns: [
    PHASE,
    { name: "Progress", type: "string", path: ".status.progress" },
    { name: "Restarts", type: "integer", path: ".status.restartCount" },
    AGE,
  ],
});

export const DATA_SOURCE = kind(GROUP, "DataSource", dataSource, { shortNames: ["das"], versions });

export const DATA_IMPORT_CRON = kind(GROUP, "DataImportCron", dataImportCron, {
  shortNames: ["dic", "dics"],
  versions,
  columns: [{ name: "Format", type: "string", path: ".status.sourceFormat" }],
});

export const STORAGE_PROFILE = kind(GROUP, "StorageProfile", storageProfile, {
  shortNames: [],
  scope: "Cluster",
  versions,
  status: true,
});

export const CDI_CONFIG = kind(GROUP, "CDIConfig", cdiConfig, {
  shortNames: [],
  scope: "Cluster",
  versions,
});

export const CDI = kind(GROUP, "CDI", cdi, {
  shortNames: ["cdi", "cdis"],
  scope: "Cluster",
  versions,
  columns: [AGE, PHASE],
});

export const OBJECT_TRANSFER = kind(GROUP, "ObjectTransfer", objectTransfer, {
  shortNames: ["ot", "ots"],
  scope: "Cluster",
  versions,
  status: true,
});

export const VOLUME_IMPORT_SOURCE = kind(GROUP, "VolumeImportSource", volumeImportSource, {
  shortNames: [],
  versions,
  inAll: false,
});

export const VOLUME_UPLOAD_SOURCE = kind(GROUP, "VolumeUploadSource", volumeUploadSource, {
  shortNames: [],
  versions,
  inAll: false,
});

export const VOLUME_CLONE_SOURCE = kind(GROUP, "VolumeCloneSource", volumeCloneSource, {
  shortNames: [],
  versions,
  inAll: false,
});
