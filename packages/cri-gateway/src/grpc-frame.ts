import type { Writable } from "node:stream";
import { TrineError } from "@trine/base";

/** A byte that says whether it is compressed, and four of the length. */
const HEADER_BYTES = 5;
/** What kubelet, crictl and containerd take and give at most. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
/** The same with its header. */
export const MAX_FRAME_BYTES = HEADER_BYTES + MAX_MESSAGE_BYTES;

/** Above this a message is not copied to stand behind its header. */
const COPIED_BYTES = 16 * 1024;

/** A message in gRPC's frame, not compressed. */
export function frameOf(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(HEADER_BYTES + message.length);
  framed[0] = 0;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, HEADER_BYTES);
  return framed;
}

/** Writes a message in its frame; false: wait for `drain`. */
export function writeFrame(stream: Writable, message: Uint8Array): boolean {
  if (message.length <= COPIED_BYTES) return stream.write(frameOf(message));
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(message.length, 1);
  stream.write(header);
  return stream.write(message);
}

/** Takes a stream's chunks and gives whole messages; holds no more than one message and a chunk. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #size = 0;

  /** Bytes of a message that is not whole yet. */
  get pending(): number {
    return this.#size;
  }

  /** The messages this chunk makes whole. Kind `exhausted` over the limit, `unimplemented` when compressed. */
  take(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    const messages: Buffer[] = [];
    for (let next = this.#next(); next !== undefined; next = this.#next()) messages.push(next);
    return messages;
  }

  #next(): Buffer | undefined {
    if (this.#size < HEADER_BYTES) return undefined;
    if ((this.#chunks[0]?.length ?? 0) < HEADER_BYTES) this.#chunks = [Buffer.concat(this.#chunks)];
    const [first = Buffer.alloc(HEADER_BYTES)] = this.#chunks;
    if (first[0] !== 0) throw new TrineError("unimplemented", "compressed messages are not taken");
    const end = HEADER_BYTES + first.readUInt32BE(1);
    if (end > MAX_FRAME_BYTES) {
      throw new TrineError(
        "exhausted",
        `a message of ${end} bytes; ${MAX_MESSAGE_BYTES} are taken`,
      );
    }
    if (this.#size < end) return undefined;
    const all = this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks);
    this.#chunks = end < all.length ? [all.subarray(end)] : [];
    this.#size -= end;
    return all.subarray(HEADER_BYTES, end);
  }
}
