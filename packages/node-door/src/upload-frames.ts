import { TrineError } from "@trine/base";

/** Of a part's length before it, u32 big-endian; 0 is the end. */
const HEADER_BYTES = 4;
/** A part is cut to it by who sends. */
const MAX_PART = 16 * 1024 * 1024;

/** An upload on a stream: parts, each after its length. Only what ends with an empty part is whole. */
export class UploadFrames {
  #head = Buffer.alloc(0);
  #left = 0;
  #isOver = false;

  get isOver(): boolean {
    return this.#isOver;
  }

  /** The bytes of the upload among these. Kind `malformed` for a part that is too long, and for more behind the end. */
  *read(bytes: Buffer): Generator<Buffer> {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#isOver) throw new TrineError("malformed", "there is more behind the upload's end");
      if (this.#left > 0) {
        const part = rest.subarray(0, this.#left);
        this.#left -= part.length;
        rest = rest.subarray(part.length);
        yield part;
        continue;
      }
      const missing = HEADER_BYTES - this.#head.length;
      this.#head = Buffer.concat([this.#head, rest.subarray(0, missing)]);
      rest = rest.subarray(missing);
      if (this.#head.length < HEADER_BYTES) return;
      this.#left = this.#head.readUInt32BE();
      this.#head = Buffer.alloc(0);
      this.#isOver = this.#left === 0;
      if (this.#left > MAX_PART) throw new TrineError("malformed", "a part that is too long");
    }
  }

  static part(bytes: Uint8Array): Buffer[] {
    const parts: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += MAX_PART) {
      const part = bytes.subarray(at, at + MAX_PART);
      const head = Buffer.alloc(HEADER_BYTES);
      head.writeUInt32BE(part.length);
      parts.push(head, Buffer.from(part.buffer, part.byteOffset, part.length));
    }
    return parts;
  }

  static end(): Buffer {
    return Buffer.alloc(HEADER_BYTES);
  }
}
