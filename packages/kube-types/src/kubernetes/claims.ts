import { typedLocalObjectReference, typedObjectReference } from "./references.ts";
import { labelSelector } from "./selectors.ts";
import {
  type Infer,
  known,
  list,
  map,
  needed,
  object,
  quantity,
  string,
} from "../schema/schema.ts";

export const volumeResourceRequirements = object({
  limits: map(quantity()),
  requests: map(quantity()),
});

export const persistentVolumeClaimSpec = object({
  accessModes: list(known("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"), {
    merge: "atomic",
  }),
  selector: labelSelector,
  resources: volumeResourceRequirements,
  volumeName: string(),
  storageClassName: string(),
  volumeMode: known("Block", "Filesystem"),
  dataSource: typedLocalObjectReference,
  dataSourceRef: typedObjectReference,
  volumeAttributesClassName: string(),
});
export type PersistentVolumeClaimSpec = Infer<typeof persistentVolumeClaimSpec>;

const resourceClaim = object({ name: needed(string()), request: string() });

export const podResources = object({
  limits: map(quantity()),
  requests: map(quantity()),
  claims: list(resourceClaim, { merge: "map", keys: ["name"] }),
});
