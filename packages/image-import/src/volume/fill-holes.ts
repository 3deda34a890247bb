import type { FileHandle } from "node:fs/promises";
import { TrineError } from "@trine/base";
import { isZeros, writeAll } from "../write-sparse.ts";

const CHUNK_BYTES = 1024 * 1024;
/** No file system has holes that are smaller. */
const SECTOR_BYTES = 512;

/**
 * Writes a file's own bytes over those of its parts that may be holes: it has space for all of its size then. For file
 * systems that cannot give it otherwise. Kind `exhausted` when that is full.
 */
export async function fillHoles(handle: FileHandle, signal: AbortSignal): Promise<void> {
  const { size } = await handle.stat();
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, size));
  for (let at = 0; at < size;) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, size - at), at);
    if (bytesRead === 0) throw new TrineError("conflict", "the disk became shorter");
    const chunk = buffer.subarray(0, bytesRead);
    if (mayHaveHole(chunk)) await writeAll(handle, chunk, at);
    at += bytesRead;
  }
}

/** Holes read as zeros. */
function mayHaveHole(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
    if (isZeros(bytes, at, Math.min(at + SECTOR_BYTES, bytes.length))) return true;
  }
  return false;
}
