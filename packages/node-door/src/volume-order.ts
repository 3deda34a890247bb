import { ERROR_KINDS } from "@trine/base";
import * as v from "valibot";
import { listOf, text, whole } from "./text.ts";

/** Of pods that fill volumes: the uid of whom the volume is made for. */
export const FILLER_LABEL = "trine.dev/fills";
/** Of such a pod, the container that does it. */
export const FILLER_CONTAINER = "import";

/** Where the container has what it works on. Nothing that its pod mounts elsewhere is there: the process has rights of the node. */
export const FILL_PLACES = {
  /** A volume of the pod: outlives the container. */
  work: "/work",
  target: { directory: "/volume", device: "/dev/volume" },
  /** The volume that is copied. */
  source: { directory: "/source", device: "/dev/source" },
  credentials: "/credentials",
  certificates: "/certificates",
  /** Directories by number below it. */
  headers: "/headers",
} as const;

const MAX_HEADERS = 32;
const volumeAt = (place: { readonly directory: string; readonly device: string }) =>
  v.picklist([place.directory, place.device]);
const headersDir = v.pipe(v.string(), v.regex(/^\/headers\/\d{1,2}$/, "/headers/NUMBER"));
const url = v.pipe(v.string(), v.maxLength(8_192));

const TABLES_BYTES = 64 * 1024 * 1024;

/** Most that a disk of that size is as a file: formats add tables to it, and what does not pack becomes a little larger. */
export function mostUnpacked(diskBytes: number): number {
  return Math.ceil(diskBytes * 1.125) + TABLES_BYTES;
}

/** Most that is fetched for it: a QCOW2 has its snapshots too, and an archive other files. */
export function mostFetched(diskBytes: number): number {
  return 2 * mostUnpacked(diskBytes);
}

/** Where a volume's disk comes from. Paths are the container's. */
const sourceSchema = v.variant("kind", [
  v.object({
    kind: v.literal("http"),
    url,
    /** ALGORITHM:HEX */
    checksum: v.optional(text),
    /** A Secret's directory: accessKeyId and secretKey. */
    credentials: v.optional(v.literal(FILL_PLACES.credentials)),
    /** A ConfigMap's directory of PEM files. */
    certificates: v.optional(v.literal(FILL_PLACES.certificates)),
    /** NAME: VALUE */
    headers: v.optional(listOf(v.pipe(v.string(), v.maxLength(8_192)), MAX_HEADERS)),
    /** Secrets' directories: each value of them is a header. */
    headerSecrets: v.optional(listOf(headersDir, MAX_HEADERS)),
  }),
  /** The disk of the container's own image. */
  v.object({ kind: v.literal("image") }),
  /** Another volume of the pod: a directory that holds disk.img, or a device. */
  v.object({ kind: v.literal("volume"), path: volumeAt(FILL_PLACES.source) }),
  v.object({ kind: v.literal("blank") }),
  /** What comes by the node's door. */
  v.object({ kind: v.literal("upload") }),
  /** What another import gives of its volume, by the doors of both. */
  v.object({ kind: v.literal("copy") }),
]);

/** What the container of an import is to do: the last argument of its process, as JSON. */
export const volumeOrderSchema = v.object({
  version: v.literal(1),
  /** Of the import: one that is done is not done again. */
  id: v.pipe(text, v.minLength(1)),
  /** Directory of a volume with a file system, or a block device. */
  target: volumeAt(FILL_PLACES.target),
  /** What the disk is to have. */
  sizeBytes: v.optional(whole),
  /** In a file system: all of its space is to be its own, also what it has holes for. */
  preallocate: v.optional(v.boolean()),
  source: sourceSchema,
});

export type VolumeOrder = v.InferOutput<typeof volumeOrderSchema>;

/** The other side of a copy: gives its volume to whoever asks at the node's door, until its pod is ended. */
export const giveOrderSchema = v.object({
  version: v.literal(1),
  give: volumeAt(FILL_PLACES.source),
});

export type GiveOrder = v.InferOutput<typeof giveOrderSchema>;

/** What an import says of itself, to its node and by it to the control plane. */
const volumeWordSchema = v.object({
  state: v.picklist(["running", "waiting", "done", "failed"]),
  /** Of 100. */
  progress: v.pipe(v.number(), v.minValue(0), v.maxValue(100)),
  message: v.optional(text),
});

export type VolumeWord = v.InferOutput<typeof volumeWordSchema>;

/** An import of a pod. */
const importReportSchema = v.object({
  namespace: text,
  pod: text,
  uid: text,
  container: text,
  ...volumeWordSchema.entries,
});

export type ImportReport = v.InferOutput<typeof importReportSchema>;

export const importsSchema = v.object({ items: listOf(importReportSchema, 4_096) });

/** What an import's own process says, if it makes sense. */
export function readVolumeWord(said: unknown): VolumeWord | undefined {
  const read = v.safeParse(volumeWordSchema, said);
  return read.success ? read.output : undefined;
}

/** How a copy has ended, as the one that takes it says. */
const copyWordSchema = v.union([
  v.object({ done: v.literal(true) }),
  v.object({ kind: v.picklist(ERROR_KINDS), message: text }),
]);

export type CopyWord = v.InferOutput<typeof copyWordSchema>;

/** Undefined for what makes no sense. */
export function readCopyWord(said: unknown): CopyWord | undefined {
  const read = v.safeParse(copyWordSchema, said);
  return read.success ? read.output : undefined;
}
