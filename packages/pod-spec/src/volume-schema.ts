import * as v from "valibot";
import { FieldRef, ResourceFieldRef } from "./container-schema.ts";
import {
  absolutePath,
  dataKey,
  fileMode,
  innerPath,
  label,
  listOf,
  quantity,
  subdomain,
} from "./fields.ts";

const optional = v.optional(v.boolean(), false);
const items = listOf(v.strictObject({ key: dataKey, path: innerPath, mode: v.optional(fileMode) }));
const defaultMode = v.optional(fileMode, 0o644);
const downwardItems = listOf(
  v.pipe(
    v.strictObject({
      path: innerPath,
      mode: v.optional(fileMode),
      fieldRef: v.optional(FieldRef),
      resourceFieldRef: v.optional(ResourceFieldRef),
    }),
    v.check(
      ({ fieldRef, resourceFieldRef }) =>
        (fieldRef === undefined) !== (resourceFieldRef === undefined),
      "exactly one of fieldRef and resourceFieldRef is wanted",
    ),
  ),
);

const Projection = v.pipe(
  v.strictObject({
    configMap: v.optional(v.strictObject({ name: subdomain, items, optional })),
    secret: v.optional(v.strictObject({ name: subdomain, items, optional })),
    downwardAPI: v.optional(v.strictObject({ items: downwardItems })),
  }),
  v.check((from) => Object.keys(from).length === 1, "exactly one source is wanted"),
);

const HOST_PATH_TYPES = [
  "",
  "DirectoryOrCreate",
  "Directory",
  "FileOrCreate",
  "File",
  "Socket",
  "CharDevice",
  "BlockDevice",
] as const;

/** A volume of a v1.Pod, as far as it is supported. */
export const Volume = v.pipe(
  v.strictObject({
    name: label,
    emptyDir: v.optional(
      v.strictObject({
        medium: v.optional(v.picklist(["", "Memory"]), ""),
        sizeLimit: v.optional(quantity),
      }),
    ),
    hostPath: v.optional(
      v.strictObject({
        path: v.pipe(
          absolutePath,
          v.check((path) => !path.split("/").includes(".."), "must not contain .."),
        ),
        type: v.optional(v.picklist(HOST_PATH_TYPES), ""),
      }),
    ),
    configMap: v.optional(v.strictObject({ name: subdomain, items, optional, defaultMode })),
    secret: v.optional(v.strictObject({ secretName: subdomain, items, optional, defaultMode })),
    downwardAPI: v.optional(v.strictObject({ items: downwardItems, defaultMode })),
    projected: v.optional(v.strictObject({ sources: listOf(Projection), defaultMode })),
    image: v.optional(
      v.strictObject({
        reference: v.pipe(v.string(), v.regex(/^\S{1,1024}$/, "an image's name is wanted")),
        pullPolicy: v.optional(v.picklist(["Always", "IfNotPresent", "Never"])),
      }),
    ),
    persistentVolumeClaim: v.optional(
      v.strictObject({ claimName: subdomain, readOnly: v.optional(v.boolean(), false) }),
    ),
  }),
  v.check((volume) => Object.keys(volume).length === 2, "exactly one source is wanted"),
);

export type Volume = v.InferOutput<typeof Volume>;
export type HostPathType = (typeof HOST_PATH_TYPES)[number];
