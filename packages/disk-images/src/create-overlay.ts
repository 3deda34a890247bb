import { constants } from "node:fs";
import { open, rename, unlink } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { TrineError, quote } from "@trine/base";
import { SECTOR_BYTES } from "./image-info.ts";
import { QCOW2_MAGIC } from "./qcow2-header.ts";

export interface OverlayOptions {
  /** What the guest sees; rounded up to whole sectors. At most 64 TiB. */
  readonly virtualSizeBytes: number;
  /** 9 to 21; default 16, that is 64 KiB. */
  readonly clusterBits?: number;
  /** Default true. False where a crash of the host also ends whatever uses the overlay. */
  readonly sync?: boolean;
}

const MAX_VIRTUAL_BYTES = 64 * 1024 ** 4;
const MAX_L1_BYTES = 32 * 1024 * 1024;
const HEADER_BYTES = 112;
const REFCOUNT_ORDER = 4; // 16-bit counts

interface Layout {
  readonly clusterBytes: number;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly refcountBlocks: number;
  readonly totalBytes: number;
}

/**
 * Writes an empty QCOW2 to lie over a base image. Its header names no backing file: the base is said on
 * the VMM's command line, so no header decides what is opened. Mode 0600, sparse; replaces what has
 * that name, at once and whole. Kind `invalid` for a size or cluster size that cannot be.
 */
export async function createOverlay(path: string, options: OverlayOptions): Promise<void> {
  const { virtualSizeBytes, clusterBits = 16 } = options;
  if (!(virtualSizeBytes > 0) || virtualSizeBytes > MAX_VIRTUAL_BYTES) {
    throw new TrineError("invalid", `overlay: virtual size ${virtualSizeBytes} is not 1 to 64 TiB`);
  }
  if (!Number.isInteger(clusterBits) || clusterBits < 9 || clusterBits > 21) {
    throw new TrineError("invalid", `overlay: cluster bits ${clusterBits} are not 9 to 21`);
  }
  const sizeBytes = Math.ceil(virtualSizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
  const layout = planLayout(sizeBytes, clusterBits);
  try {
    await writeAtomically(path, options.sync ?? true, (file) =>
      writeMetadata(file, layout, { sizeBytes, clusterBits }),
    );
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOSPC") {
      throw new TrineError("exhausted", `create overlay ${quote(path)}: the disk is full`, {
        cause,
      });
    }
    throw TrineError.during(`create overlay ${quote(path)}`, cause);
  }
}

/** Header, refcount table, refcount blocks, L1 table: each at a cluster's start, in this order. */
function planLayout(sizeBytes: number, clusterBits: number): Layout {
  const clusterBytes = 2 ** clusterBits;
  const l1Entries = Math.ceil(sizeBytes / (clusterBytes * (clusterBytes / 8)));
  if (l1Entries * 8 > MAX_L1_BYTES) {
    throw new TrineError(
      "invalid",
      `overlay: ${sizeBytes} bytes need larger clusters than ${clusterBytes} bytes`,
    );
  }
  const l1Clusters = Math.ceil((l1Entries * 8) / clusterBytes);
  const perBlock = clusterBytes / 2;
  const refcountBlocks = blocksFor(l1Clusters, perBlock);
  const tableClusters = Math.ceil((refcountBlocks * 8) / clusterBytes);
  const l1Offset = (1 + tableClusters + refcountBlocks) * clusterBytes;
  const totalBytes = l1Offset + l1Clusters * clusterBytes;
  return { clusterBytes, l1Entries, l1Offset, refcountBlocks, totalBytes };
}

/** Refcount blocks that count everything, themselves and their table included. */
function blocksFor(l1Clusters: number, perBlock: number): number {
  let blocks = 1;
  for (;;) {
    const tableClusters = Math.ceil((blocks * 4) / perBlock); // 8 bytes each, 2 × perBlock a cluster
    const needed = Math.ceil((1 + tableClusters + blocks + l1Clusters) / perBlock);
    if (needed <= blocks) return blocks;
    blocks = needed;
  }
}

async function writeMetadata(
  file: FileHandle,
  layout: Layout,
  disk: { sizeBytes: number; clusterBits: number },
): Promise<void> {
  const { clusterBytes, refcountBlocks, totalBytes } = layout;
  const tableClusters = Math.ceil((refcountBlocks * 8) / clusterBytes);
  const blocksAt = (1 + tableClusters) * clusterBytes;
  const table = Buffer.alloc(refcountBlocks * 8);
  for (let i = 0; i < refcountBlocks; i++) {
    table.writeBigUInt64BE(BigInt(blocksAt + i * clusterBytes), i * 8);
  }
  // One is all bits of every second byte: each cluster of the file is used once.
  const counts = Buffer.alloc((totalBytes / clusterBytes) * 2);
  for (let at = 1; at < counts.length; at += 2) counts[at] = 1;

  await file.truncate(totalBytes);
  await file.write(header(layout, disk, tableClusters), 0, HEADER_BYTES, 0);
  await file.write(table, 0, table.length, clusterBytes);
  await file.write(counts, 0, counts.length, blocksAt);
}

/** Version 3; offsets of the fields are those of QEMU's docs/interop/qcow2.txt. */
function header(
  layout: Layout,
  disk: { sizeBytes: number; clusterBits: number },
  tableClusters: number,
): Buffer {
  const head = Buffer.alloc(HEADER_BYTES);
  head.writeUInt32BE(QCOW2_MAGIC, 0);
  head.writeUInt32BE(3, 4);
  head.writeUInt32BE(disk.clusterBits, 20);
  head.writeBigUInt64BE(BigInt(disk.sizeBytes), 24);
  head.writeUInt32BE(layout.l1Entries, 36);
  head.writeBigUInt64BE(BigInt(layout.l1Offset), 40);
  head.writeBigUInt64BE(BigInt(layout.clusterBytes), 48);
  head.writeUInt32BE(tableClusters, 56);
  head.writeUInt32BE(REFCOUNT_ORDER, 96);
  head.writeUInt32BE(HEADER_BYTES, 100);
  return head;
}

/** A reader sees the old file or the new one. A name left by a crash is replaced. */
async function writeAtomically(
  path: string,
  sync: boolean,
  write: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.new`);
  const file = await openNew(temporary);
  try {
    await write(file);
    if (sync) await file.datasync();
    await file.close();
    await rename(temporary, path);
  } catch (cause) {
    await file.close().catch(() => undefined); // closed already when the rename failed
    await unlink(temporary);
    throw cause;
  }
}

async function openNew(path: string): Promise<FileHandle> {
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
  try {
    return await open(path, flags, 0o600);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
    await unlink(path);
    return open(path, flags, 0o600);
  }
}
