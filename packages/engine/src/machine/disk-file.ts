import type { FileHandle } from "node:fs/promises";
import { lstat, open } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, kindOf } from "@trine/base";
import { inspectImage, isDirectoryBeneath, openBeneath } from "@trine/disk-images";
import type { Beneath } from "@trine/disk-images";
import type { DiskSpec } from "@trine/vmm";

/** As KubeVirt names it on a volume. */
const DEFAULT_NAME = "disk.img";
const SECTOR_BYTES = 512;

interface Wanted {
  /** In the container; for messages. */
  readonly path: string;
  readonly readOnly: boolean;
  /** Makes a file that is not there, and enlarges one that is smaller: one that was grown meanwhile stays. */
  readonly sizeBytes?: number;
  /** Absent: raw where it is written, what the header says otherwise. */
  readonly format?: DiskSpec["format"];
  readonly limits: { readonly maxVirtualBytes: number };
}

/**
 * A disk in a file of a volume that others write too: nothing there is followed, and what a header says is checked.
 * Repeatable. Kind `notFound` or `invalid`.
 */
export async function fileDisk(
  place: Beneath,
  wanted: Wanted,
): Promise<Pick<DiskSpec, "format" | "path"> & { bytes: number; inode: string }> {
  const { path, readOnly, limits, sizeBytes } = wanted;
  if (sizeBytes !== undefined && sizeBytes > limits.maxVirtualBytes) {
    // Before anything is made: what is too large could never be made smaller.
    const why = `size: ${sizeBytes} bytes for ${path}; the limit is ${limits.maxVirtualBytes}`;
    throw new TrineError("invalid", why);
  }
  const { parts, handle } = await opened(place, wanted);
  try {
    const stats = await handle.stat({ bigint: true }); // a number of ours would round an inode's
    if (!stats.isFile()) {
      throw new TrineError("invalid", `${path} is not a regular file`);
    }
    if (sizeBytes !== undefined && !readOnly) await enlarge(handle, sizeBytes, wanted);
    const { format, bytes } = await look(handle, wanted);
    const inode = `${stats.dev}:${stats.ino}`;
    return { format, path: join(place.dir, ...parts), bytes, inode };
  } finally {
    await handle.close();
  }
}

async function opened(
  place: Beneath,
  { path, readOnly, format, sizeBytes }: Wanted,
): Promise<{ parts: readonly string[]; handle: FileHandle }> {
  const write = !readOnly && sizeBytes !== undefined && format !== "qcow2";
  const root = await lstat(place.dir);
  if (!root.isDirectory()) {
    // The volume is one file.
    if (!root.isFile()) throw new TrineError("invalid", `${path} is not a regular file`);
    if (place.parts.length > 0) throw new TrineError("invalid", `${path} is below a file`);
    return { parts: [], handle: await open(place.dir, write ? "r+" : "r") };
  }
  const isDirectory = await isDirectoryBeneath(place);
  const parts = isDirectory ? [...place.parts, DEFAULT_NAME] : place.parts;
  try {
    return { parts, handle: await openBeneath({ ...place, parts }, { write, create: write }) };
  } catch (cause) {
    const advice = kindOf(cause) === "notFound" && !readOnly ? "; with a size it is made" : "";
    const { message } = TrineError.during(path, cause);
    throw new TrineError(kindOf(cause), `${message}${advice}`, { cause });
  }
}

async function enlarge(handle: FileHandle, sizeBytes: number, wanted: Wanted): Promise<void> {
  const { path, format = "raw" } = wanted;
  const { size } = await handle.stat();
  const { bytes } = size === 0 && format === "raw" ? { bytes: 0 } : await look(handle, wanted);
  if (bytes >= sizeBytes) return;
  if (format !== "raw") {
    throw new TrineError("invalid", `size: ${path} is a ${format}: only a raw disk is enlarged`);
  }
  await handle.truncate(sizeBytes);
}

/**
 * What a guest writes is not asked what it is: with a header of its own in the first sector a guest would choose how its
 * disk is read the next time.
 */
async function look(
  handle: FileHandle,
  { path, readOnly, format, limits }: Wanted,
): Promise<{ format: DiskSpec["format"]; bytes: number }> {
  if (format === "raw" || (format === undefined && !readOnly)) {
    return { format: "raw", bytes: await rawBytes(handle, path, limits.maxVirtualBytes) };
  }
  const info = await inspectImage(handle, limits, undefined, path);
  if (format !== undefined && info.format !== format) {
    throw new TrineError("invalid", `format: ${path} is ${info.format}, not ${format}`);
  }
  return { format: info.format, bytes: info.virtualSizeBytes };
}

/** QEMU shows the guest whole sectors. */
async function rawBytes(handle: FileHandle, path: string, most: number): Promise<number> {
  const { size } = await handle.stat();
  const bytes = Math.ceil(size / SECTOR_BYTES) * SECTOR_BYTES;
  if (bytes > most)
    throw new TrineError("invalid", `${path} has ${bytes} bytes; the limit is ${most}`);
  if (size < SECTOR_BYTES) {
    throw new TrineError("invalid", `${path} has ${size} bytes, less than one sector`);
  }
  return bytes;
}
