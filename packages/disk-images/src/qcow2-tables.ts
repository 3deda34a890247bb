import type { FileHandle } from "node:fs/promises";
import { readAt } from "./open-image.ts";
import { refuse } from "./qcow2-header.ts";
import type { Qcow2Header } from "./qcow2-header.ts";

const CHUNK_BYTES = 65_536;
/** Bits 9 to 55 of a table entry are an offset; these are the bits of its upper half that count. */
const OFFSET_HIGH_MASK = 0x00ffffff;
const RESERVED_HIGH_MASK = 0x7f000000;
const COMPRESSED_HIGH_BIT = 0x40000000;

/**
 * Checks that every table an image leads to lies in its file. Kind `invalid` otherwise.
 * Work is bounded by the size of the file: tables that overlap are refused by their number.
 */
export async function checkTables(
  handle: FileHandle,
  header: Qcow2Header,
  options: { fileSizeBytes: number; l2: boolean },
  signal?: AbortSignal,
): Promise<void> {
  const { clusterBytes } = header;
  let tables = 0;
  for await (const chunk of chunks(handle, header.l1.offset, header.l1.entries * 8, signal)) {
    for (let at = 0; at < chunk.length; at += 8) {
      const offset = l2Offset(chunk, at, clusterBytes);
      if (offset === 0) continue;
      if (offset + clusterBytes > options.fileSizeBytes) {
        refuse("is truncated or corrupt: an L2 table lies behind its end");
      }
      tables += 1;
      if (tables * clusterBytes > options.fileSizeBytes) {
        refuse("is corrupt: it has more L2 tables than fit into its file");
      }
      if (options.l2) await checkL2(handle, header, offset, options.fileSizeBytes, signal);
    }
  }
}

/** Where the L2 table of an L1 entry lies; 0 when there is none. */
export function l2Offset(chunk: Buffer, at: number, clusterBytes: number): number {
  const high = chunk.readUInt32BE(at);
  const low = chunk.readUInt32BE(at + 4);
  const offset =
    (high & OFFSET_HIGH_MASK) * 2 ** 32 + (low & ~0x1ff) + (low > 0x7fffffff ? 2 ** 32 : 0);
  if ((high & RESERVED_HIGH_MASK) !== 0 || (low & 0x1ff) !== 0 || offset % clusterBytes !== 0) {
    refuse("is corrupt: an L1 entry does not lead to a cluster");
  }
  return offset;
}

async function checkL2(
  handle: FileHandle,
  header: Qcow2Header,
  offset: number,
  fileSizeBytes: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const entryBytes = header.extendedL2 ? 16 : 8;
  for await (const chunk of chunks(handle, offset, header.clusterBytes, signal)) {
    for (let at = 0; at < chunk.length; at += entryBytes) {
      const start = dataOffset(chunk, at, header.clusterBytes);
      if (start >= fileSizeBytes) {
        refuse("is truncated or corrupt: some of its data lies behind its end");
      }
    }
  }
}

export function compressedEntry(chunk: Buffer, at: number): boolean {
  return (chunk.readUInt32BE(at) & COMPRESSED_HIGH_BIT) !== 0;
}

/** Where an L2 entry's data starts; 0 when it has none. */
export function dataOffset(chunk: Buffer, at: number, clusterBytes: number): number {
  const high = chunk.readUInt32BE(at);
  const low = chunk.readUInt32BE(at + 4);
  if (!compressedEntry(chunk, at)) {
    return (high & OFFSET_HIGH_MASK) * 2 ** 32 + Math.floor(low / 512) * 512;
  }
  // A compressed cluster's offset ends where the count of its sectors begins: at bit 62 - (bits - 8).
  const offsetBits = 62 - (Math.log2(clusterBytes) - 8);
  return (high & (2 ** (offsetBits - 32) - 1)) * 2 ** 32 + low;
}

async function* chunks(
  handle: FileHandle,
  offset: number,
  length: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  for (let done = 0; done < length; done += CHUNK_BYTES) {
    signal?.throwIfAborted();
    const want = Math.min(CHUNK_BYTES, length - done);
    const chunk = await readAt(handle, offset + done, want);
    if (chunk.length < want) refuse("is truncated: it ends within a table");
    yield chunk;
  }
}
