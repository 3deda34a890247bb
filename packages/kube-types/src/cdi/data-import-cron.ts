import { dataVolumeTemplate } from "./data-volume.ts";
import { dataVolumeSourcePVC } from "./import-source.ts";
import { whole } from "../schema/kind.ts";
import { type Infer, int32, known, list, needed, object, string, time } from "../schema/schema.ts";

const dataImportCronSpec = object({
  template: needed(dataVolumeTemplate),
  schedule: needed(string()),
  garbageCollect: known("Never", "Outdated"),
  importsToKeep: int32(),
  managedDataSource: needed(string()),
  retentionPolicy: known("None", "All"),
  serviceAccountName: string({ minLength: 1 }),
});

const importStatus = object({ DataVolumeName: needed(string()), Digest: needed(string()) });

const dataImportCronCondition = object({
  type: needed(known("Progressing", "UpToDate")),
  status: needed(known("True", "False", "Unknown")),
  lastTransitionTime: time(),
  lastHeartbeatTime: time(),
  reason: string(),
  message: string(),
});

const dataImportCronStatus = object({
  currentImports: list(importStatus),
  lastImportedPVC: dataVolumeSourcePVC,
  lastExecutionTimestamp: time(),
  lastImportTimestamp: time(),
  sourceFormat: known("snapshot", "pvc"),
  conditions: list(dataImportCronCondition),
});

export const dataImportCron = whole({
  spec: needed(dataImportCronSpec),
  status: dataImportCronStatus,
});
export type DataImportCron = Infer<typeof dataImportCron>;
