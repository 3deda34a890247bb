import type { FileHandle } from "node:fs/promises";
import { readAt } from "../open-image.ts";
import { refuse } from "../qcow2-header.ts";

/** A disk within an open file: all of it, or one member of an archive. */
export interface ByteRange {
  readonly handle: FileHandle;
  readonly offset: number;
  readonly sizeBytes: number;
}

/** Exactly these bytes; kind `invalid`, naming `what`, where the range ends before. */
export async function readWithin(
  range: ByteRange,
  at: number,
  length: number,
  what: string,
): Promise<Buffer> {
  if (at < 0 || at + length > range.sizeBytes) refuse(`is truncated: ${what} lies behind its end`);
  const bytes = await readAt(range.handle, range.offset + at, length);
  if (bytes.length < length) refuse(`is truncated: ${what} lies behind its end`);
  return bytes;
}

/** A 64-bit field as a number. */
export function toNumber(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    refuse(`is corrupt: ${what} 0x${value.toString(16)}`);
  }
  return Number(value);
}
