import { TrineError } from "@trine/base";

/** Before all: what it is, and the disk's size, u64 big-endian. */
const MAGIC = Buffer.from("TRINERAW");
const START_BYTES = MAGIC.length + 8;
/** Before each run: its place, u64, and its length, u32; both big-endian. */
const HEAD_BYTES = 12;
const MAX_RUN = 16 * 1024 * 1024;

/** Some bytes of a disk. */
export interface RawRun {
  readonly at: number;
  readonly bytes: Buffer;
}

export function startOfRuns(totalBytes: number): Buffer {
  const start = Buffer.alloc(START_BYTES);
  MAGIC.copy(start);
  start.writeBigUInt64BE(BigInt(totalBytes), MAGIC.length);
  return start;
}

export function headOfRun(at: number, length: number): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeBigUInt64BE(BigInt(at));
  head.writeUInt32BE(length, 8);
  return head;
}

/** Without it a disk is not whole. */
export function endOfRuns(totalBytes: number): Buffer {
  return headOfRun(totalBytes, 0);
}

/**
 * A raw disk on a stream: its size, and the runs that are no zeros, in order. Whoever sends may be anybody: kind `malformed` for what
 * is out of order, beyond the disk, or behind the end.
 */
export class RawRuns {
  #head = Buffer.alloc(0);
  #totalBytes: number | undefined;
  #at = 0;
  #left = 0;
  #isOver = false;

  /** Undefined until it is known. */
  get totalBytes(): number | undefined {
    return this.#totalBytes;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** What these bytes are of the disk. A caller that is told of the size stops there to look at it: `totalBytes` is set before the first run. */
  *read(bytes: Buffer): Generator<RawRun> {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#isOver) throw new TrineError("malformed", "there is more behind the disk's end");
      if (this.#left > 0) {
        const part = rest.subarray(0, this.#left);
        const at = this.#at;
        this.#at += part.length;
        this.#left -= part.length;
        rest = rest.subarray(part.length);
        yield { at, bytes: part };
        continue;
      }
      const wanted = this.#totalBytes === undefined ? START_BYTES : HEAD_BYTES;
      const missing = wanted - this.#head.length;
      this.#head = Buffer.concat([this.#head, rest.subarray(0, missing)]);
      rest = rest.subarray(missing);
      if (this.#head.length < wanted) return;
      if (this.#totalBytes === undefined) this.#totalBytes = sizeIn(this.#head);
      else this.#begin(this.#head, this.#totalBytes);
      this.#head = Buffer.alloc(0);
    }
  }

  #begin(head: Buffer, totalBytes: number): void {
    const at = Number(head.readBigUInt64BE());
    const length = head.readUInt32BE(8);
    if (at < this.#at || at + length > totalBytes || length > MAX_RUN) {
      throw new TrineError("malformed", "a part of the disk is in the wrong place");
    }
    this.#isOver = length === 0;
    if (this.#isOver && at !== totalBytes) {
      throw new TrineError("malformed", "the disk ends before its size");
    }
    this.#at = at;
    this.#left = length;
  }
}

function sizeIn(start: Buffer): number {
  if (!start.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new TrineError("malformed", "that is no disk's beginning");
  }
  const size = start.readBigUInt64BE(MAGIC.length);
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new TrineError("malformed", "no disk is as large");
  }
  return Number(size);
}
