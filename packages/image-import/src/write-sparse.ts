import type { FileHandle } from "node:fs/promises";
import { TrineError, errnoOf } from "@trine/base";

/** Runs of zeros of this size become holes. */
export const HOLE_BYTES = 65_536;
const ZEROS = Buffer.alloc(HOLE_BYTES);

/**
 * Writes a part of a file that is written in order, and nothing where it is zeros; whoever ends with such sets the
 * file's length. Kind `exhausted` when the file system is full.
 */
export async function writeSparse(to: FileHandle, bytes: Buffer, at: number): Promise<void> {
  let begun = 0; // of what is to be written in one call
  const flush = async (end: number): Promise<void> => {
    if (end > begun) await writeAll(to, bytes.subarray(begun, end), at + begun);
  };
  for (let from = 0; from < bytes.length;) {
    // Holes lie at whole places of the file, wherever a pipe cuts.
    const length = Math.min(HOLE_BYTES - ((at + from) % HOLE_BYTES), bytes.length - from);
    if (isZeros(bytes, from, from + length)) {
      await flush(from);
      begun = from + length;
    }
    from += length;
  }
  await flush(bytes.length);
}

/** Of at most `HOLE_BYTES` of a buffer. */
export function isZeros(bytes: Buffer, from: number, to: number): boolean {
  return bytes.compare(ZEROS, 0, to - from, from, to) === 0;
}

/** Writes all of a buffer; kind `exhausted` when the file system is full. */
export async function writeAll(to: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const left = bytes.length - done;
    done += (await toldOfSpace(to.write(bytes, done, left, at + done))).bytesWritten;
  }
}

/** Writes all of several buffers, one behind the other, as `writeAll` does one. */
export async function writeParts(
  to: FileHandle,
  parts: readonly Uint8Array[],
  at: number,
): Promise<void> {
  if (parts.length === 0) return;
  const { bytesWritten } = await toldOfSpace(to.writev([...parts], at));
  const rest = Buffer.concat(bytesWritten < sizeOf(parts) ? parts : []).subarray(bytesWritten);
  await writeAll(to, rest, at + bytesWritten);
}

export function sizeOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

async function toldOfSpace<T>(written: Promise<T>): Promise<T> {
  try {
    return await written;
  } catch (cause) {
    const isFull = ["ENOSPC", "EDQUOT", "EFBIG"].includes(errnoOf(cause) ?? "");
    if (isFull) throw new TrineError("exhausted", "no space is left on the disk", { cause });
    throw cause;
  }
}
