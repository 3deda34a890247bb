import { whole } from "../schema/kind.ts";
import {
  type Infer,
  known,
  list,
  needed,
  object,
  oneOf,
  ruled,
  string,
  time,
} from "../schema/schema.ts";

const claimPropertySet = object({
  accessModes: needed(
    ruled(
      list(known("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"), {
        maxItems: 4,
      }),
      {
        rule: "self.all(mode, mode in ['ReadWriteOnce', 'ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOncePod'])",
        message: "must be access modes of a volume",
      },
    ),
  ),
  volumeMode: needed(oneOf(["Block", "Filesystem"])),
});

const storageProfileSpec = object({
  cloneStrategy: known("copy", "snapshot", "csi-clone"),
  claimPropertySets: list(claimPropertySet, { maxItems: 8 }),
  dataImportCronSourceFormat: known("snapshot", "pvc"),
  snapshotClass: string(),
});

const storageProfileCondition = object({
  type: needed(known("Recognized")),
  status: needed(known("True", "False", "Unknown")),
  lastTransitionTime: time(),
  lastHeartbeatTime: time(),
  reason: string(),
  message: string(),
});

const storageProfileStatus = object({
  storageClass: string(),
  provisioner: string(),
  cloneStrategy: known("copy", "snapshot", "csi-clone"),
  claimPropertySets: list(claimPropertySet, { maxItems: 8 }),
  dataImportCronSourceFormat: known("snapshot", "pvc"),
  snapshotClass: string(),
  conditions: list(storageProfileCondition),
});

export const storageProfile = whole({
  spec: needed(storageProfileSpec),
  status: storageProfileStatus,
});
export type StorageProfile = Infer<typeof storageProfile>;
