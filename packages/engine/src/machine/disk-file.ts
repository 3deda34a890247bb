import type { FileHandle } from "node:fs/promises";
import { lstat, open } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, kindOf } from "@trine/base";
import { inspectImage, isDirectoryBeneath, openBeneath } from "@trine/disk-images";
import type { Beneath } from "@trine/disk-images";
import type { DiskSpec } from "@trine/vmm";

/** As KubeVirt names it on a volume. */
const DEFAULT_NAME = "disk.img";

interface Wanted {
  /** In the container; for messages. */
  readonly path: string;
  readonly readOnly: boolean;
  /** Makes a file that is not there, and enlarges one that is. */
  readonly sizeBytes?: number;
  readonly limits: { readonly maxVirtualBytes: number };
}

/**
 * A disk in a file of a volume that others write too: nothing there is followed, and what a header says is checked.
 * Repeatable. Kind `notFound` or `invalid`.
 */
export async function fileDisk(
  place: Beneath,
  wanted: Wanted,
): Promise<Pick<DiskSpec, "format" | "path"> & { bytes: number }> {
  const { path, readOnly, limits, sizeBytes } = wanted;
  if (sizeBytes !== undefined && sizeBytes > limits.maxVirtualBytes) {
    // Before anything is made: what is too large could never be made smaller.
    const why = `size: ${sizeBytes} bytes for ${path}; the limit is ${limits.maxVirtualBytes}`;
    throw new TrineError("invalid", why);
  }
  const { parts, handle } = await opened(place, wanted);
  try {
    if (!(await handle.stat()).isFile()) {
      throw new TrineError("invalid", `${path} is not a regular file`);
    }
    if (sizeBytes !== undefined && !readOnly) await enlarge(handle, path, { sizeBytes, limits });
    const info = await inspectImage(handle, limits, undefined, path);
    return { format: info.format, path: join(place.dir, ...parts), bytes: info.virtualSizeBytes };
  } finally {
    await handle.close();
  }
}

async function opened(
  place: Beneath,
  { path, readOnly, sizeBytes }: Wanted,
): Promise<{ parts: readonly string[]; handle: FileHandle }> {
  const write = !readOnly && sizeBytes !== undefined;
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

async function enlarge(
  handle: FileHandle,
  path: string,
  { sizeBytes, limits }: { sizeBytes: number } & Pick<Wanted, "limits">,
): Promise<void> {
  const { size } = await handle.stat();
  if (size === 0) {
    await handle.truncate(sizeBytes);
    return;
  }
  const { format, virtualSizeBytes } = await inspectImage(handle, limits, undefined, path);
  if (virtualSizeBytes === sizeBytes) return;
  if (virtualSizeBytes > sizeBytes) {
    const why = `size: ${sizeBytes} bytes is less than the ${virtualSizeBytes} of ${path}; it only enlarges`;
    throw new TrineError("invalid", why);
  }
  if (format !== "raw") {
    throw new TrineError("invalid", `size: ${path} is a ${format}: only a raw disk is enlarged`);
  }
  await handle.truncate(sizeBytes);
}
