import { dataVolumeSpec } from "../cdi/data-volume.ts";
import { virtualMachineInstanceTemplateSpec } from "./instance-spec.ts";
import { templateMetadata } from "../schema/metadata.ts";
import {
  type Infer,
  boolean,
  known,
  list,
  needed,
  nullable,
  object,
  string,
  time,
} from "../schema/schema.ts";

const instancetypeMatcher = object({
  name: string(),
  kind: string(),
  revisionName: string(),
  inferFromVolume: string(),
  inferFromVolumeFailurePolicy: known("Reject", "Ignore"),
});

const preferenceMatcher = object({
  name: string(),
  kind: string(),
  revisionName: string(),
  inferFromVolume: string(),
  inferFromVolumeFailurePolicy: known("Reject", "Ignore"),
});

const dataVolumeTemplateDummyStatus = object({});

const dataVolumeTemplateSpec = object({
  apiVersion: string(),
  kind: string(),
  metadata: templateMetadata(),
  spec: needed(dataVolumeSpec),
  status: nullable(dataVolumeTemplateDummyStatus),
});

export const virtualMachineSpec = object({
  running: boolean(),
  runStrategy: known("Always", "Halted", "Manual", "RerunOnFailure", "Once", "WaitAsReceiver"),
  instancetype: instancetypeMatcher,
  preference: preferenceMatcher,
  template: needed(virtualMachineInstanceTemplateSpec),
  dataVolumeTemplates: list(dataVolumeTemplateSpec),
  updateVolumesStrategy: known("Migration", "Replacement"),
});
export type VirtualMachineSpec = Infer<typeof virtualMachineSpec>;

export const virtualMachineMemoryDumpRequest = object({
  claimName: needed(string()),
  phase: needed(
    known("Associating", "InProgress", "Unmounting", "Completed", "Dissociating", "Failed"),
  ),
  remove: boolean(),
  startTimestamp: time(),
  endTimestamp: time(),
  fileName: string(),
  message: string(),
});
