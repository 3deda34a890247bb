import type { FileHandle } from "node:fs/promises";
import { TrineError, quote } from "@trine/base";
import { HEAD_BYTES, TAIL_BYTES, foreignFormat, rawSignature } from "./foreign-format.ts";
import {
  DEFAULT_MAX_RATIO,
  DEFAULT_MAX_VIRTUAL_BYTES,
  RATIO_FREE_BYTES,
  SECTOR_BYTES,
} from "./image-info.ts";
import type { ImageInfo, ImageLimits } from "./image-info.ts";
import { openRegularFile, readAt, requireRegular } from "./open-image.ts";
import {
  MAX_CLUSTER_BITS,
  MIN_CLUSTER_BITS,
  QCOW2_MAGIC,
  parseQcow2Header,
  refuse,
} from "./qcow2-header.ts";
import { checkTables } from "./qcow2-tables.ts";

/**
 * Reads the header of a disk image: a QCOW2 of version 2 or 3, whole in itself, or a raw disk.
 * Kind `invalid` with one sentence saying why for anything else; a handle given stays open.
 */
export async function inspectImage(
  source: string | FileHandle,
  limits: ImageLimits = {},
  signal?: AbortSignal,
  what = "disk image",
): Promise<ImageInfo> {
  signal?.throwIfAborted();
  if (typeof source !== "string") return inspectHandle(source, what, limits, signal);
  const handle = await openRegularFile(source);
  try {
    return await inspectHandle(handle, `disk image ${quote(source)}`, limits, signal);
  } finally {
    await handle.close();
  }
}

async function inspectHandle(
  handle: FileHandle,
  what: string,
  limits: ImageLimits,
  signal: AbortSignal | undefined,
): Promise<ImageInfo> {
  const fileSizeBytes = await requireRegular(handle, what);
  try {
    if (fileSizeBytes === 0) refuse("is empty");
    const head = await readAt(handle, 0, Math.min(HEAD_BYTES, fileSizeBytes));
    const info = isQcow2(head)
      ? await inspectQcow2(handle, fileSizeBytes, limits, signal)
      : await inspectRaw(handle, head, fileSizeBytes);
    checkVirtualSize(info, limits);
    return info;
  } catch (cause) {
    if (!(cause instanceof TrineError)) throw cause;
    throw new TrineError(cause.kind, `${what} ${cause.message}`, { cause });
  }
}

export function isQcow2(head: Buffer): boolean {
  return head.length >= 4 && head.readUInt32BE(0) === QCOW2_MAGIC;
}

async function inspectQcow2(
  handle: FileHandle,
  fileSizeBytes: number,
  limits: ImageLimits,
  signal: AbortSignal | undefined,
): Promise<ImageInfo> {
  const header = parseQcow2Header(await readHeaderCluster(handle), fileSizeBytes);
  const options = { fileSizeBytes, l2: limits.checkTables ?? false };
  await checkTables(handle, header, options, signal);
  const { virtualSizeBytes } = header;
  return { format: "qcow2", virtualSizeBytes, fileSizeBytes, bootable: "unknown" };
}

/** The first cluster: header, extensions and the backing file's name are in it. */
async function readHeaderCluster(handle: FileHandle): Promise<Buffer> {
  const start = await readAt(handle, 0, 24);
  const bits = start.length < 24 ? 0 : start.readUInt32BE(20);
  return readAt(handle, 0, 2 ** Math.min(Math.max(bits, MIN_CLUSTER_BITS), MAX_CLUSTER_BITS));
}

async function inspectRaw(
  handle: FileHandle,
  head: Buffer,
  fileSizeBytes: number,
): Promise<ImageInfo> {
  const tail = await readAt(handle, Math.max(0, fileSizeBytes - TAIL_BYTES), TAIL_BYTES);
  const foreign = foreignFormat(head, tail);
  if (foreign !== undefined) {
    refuse(`looks like ${foreign}: give a QCOW2 or raw disk${adviceFor(foreign)}`);
  }
  if (fileSizeBytes < SECTOR_BYTES) refuse("is truncated: it is smaller than one sector");
  // QEMU shows the guest whole sectors too.
  const virtualSizeBytes = Math.ceil(fileSizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
  return { format: "raw", virtualSizeBytes, fileSizeBytes, bootable: rawSignature(head) };
}

function adviceFor(foreign: string): string {
  if (foreign.endsWith("disk") || foreign.includes("VHD")) return " (qemu-img convert makes one)";
  return /gzip|xz|zstd|bzip2|lz4|zip/.test(foreign) ? " (unpack it first)" : "";
}

/** Kind `invalid` for a disk larger than the limits allow, or far larger than its file can mean. */
export function checkVirtualSize(
  info: Pick<ImageInfo, "virtualSizeBytes" | "fileSizeBytes">,
  limits: ImageLimits,
): void {
  const max = limits.maxVirtualBytes ?? DEFAULT_MAX_VIRTUAL_BYTES;
  const { virtualSizeBytes, fileSizeBytes } = info;
  if (virtualSizeBytes > max) {
    refuse(`has a virtual size of ${virtualSizeBytes} bytes; the limit is ${max}`);
  }
  const ratio = virtualSizeBytes / fileSizeBytes;
  if (virtualSizeBytes > RATIO_FREE_BYTES && ratio > (limits.maxRatio ?? DEFAULT_MAX_RATIO)) {
    refuse(`claims a virtual size of ${virtualSizeBytes} bytes in a file of ${fileSizeBytes}`);
  }
}
