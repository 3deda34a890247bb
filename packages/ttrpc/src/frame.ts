import { TrineError } from "@trine/base";

/** Bytes before every body: u32 length, u32 stream id, u8 kind, u8 flags, all big endian (ttrpc PROTOCOL.md). */
export const HEADER_BYTES = 10;
/** Largest body either side may send. */
export const MAX_BODY_BYTES = 4 << 20;

export const REQUEST = 1;
export const RESPONSE = 2;
/** Request flag: the client will send data frames, i.e. the call is not unary. */
export const REMOTE_OPEN = 0x02;

export interface Frame {
  readonly stream: number;
  readonly kind: number;
  readonly flags: number;
  readonly body: Uint8Array;
}

/** One frame as bytes; kind `exhausted` when the body is over the limit. */
export function encodeFrame(stream: number, kind: number, body: Uint8Array): Uint8Array {
  if (body.length > MAX_BODY_BYTES) {
    throw new TrineError(
      "exhausted",
      `message of ${body.length} bytes is over ttrpc's limit of ${MAX_BODY_BYTES}`,
    );
  }
  const bytes = new Uint8Array(HEADER_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  view.setUint32(4, stream);
  view.setUint8(8, kind);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

/**
 * Collects bytes and gives out whole frames in order. Holds at most one frame beyond what was just pushed,
 * and copies each byte at most twice however the stream was cut.
 */
export class FrameDecoder {
  #pieces: Uint8Array[] = [];
  #held = 0;
  #wanted = HEADER_BYTES;

  /** Bytes that belong to no frame given out yet. */
  get pending(): number {
    return this.#held;
  }

  /** Throws kind `malformed` at a body over the limit: nothing after it can be trusted, drop the stream. */
  *push(bytes: Uint8Array): Generator<Frame> {
    this.#pieces.push(bytes);
    this.#held += bytes.length;
    while (this.#held >= this.#wanted) {
      const all = this.#joined();
      const view = new DataView(all.buffer, all.byteOffset, all.byteLength);
      const length = view.getUint32(0);
      if (length > MAX_BODY_BYTES) {
        throw new TrineError(
          "malformed",
          `ttrpc frame of ${length} bytes is over the limit of ${MAX_BODY_BYTES}`,
        );
      }
      const end = HEADER_BYTES + length;
      if (all.length < end) {
        this.#wanted = end;
        return;
      }
      this.#keep(all.subarray(end));
      yield {
        stream: view.getUint32(4),
        kind: view.getUint8(8),
        flags: view.getUint8(9),
        body: all.subarray(HEADER_BYTES, end),
      };
    }
  }

  #keep(rest: Uint8Array): void {
    this.#pieces = rest.length === 0 ? [] : [rest];
    this.#held = rest.length;
    this.#wanted = HEADER_BYTES;
  }

  #joined(): Uint8Array {
    const [only] = this.#pieces;
    if (only !== undefined && this.#pieces.length === 1) return only;
    const all = new Uint8Array(this.#held);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    this.#pieces = [all];
    return all;
  }
}
