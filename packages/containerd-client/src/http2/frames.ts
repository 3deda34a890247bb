import { TrineError } from "@trine/base";

/** Types of frames (RFC 9113, 6). */
export const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goAway: 7,
  window: 8,
  continuation: 9,
} as const;

/** Flags; ACK of SETTINGS and PING is the bit that is END_STREAM elsewhere. */
export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

/** Largest payload that either side takes; we ask for no more. */
export const MAX_PAYLOAD = 16_384;
const HEADER_BYTES = 9;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** The nine bytes before a payload. */
export function frameHeader(type: number, flags: number, stream: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUIntBE(length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return header;
}

export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  return Buffer.concat([frameHeader(type, flags, stream, payload.length), payload]);
}

export function settings(values: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(values.length * 6);
  values.forEach(([id, value], index) => {
    payload.writeUInt16BE(id, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  });
  return frame(FRAME.settings, 0, 0, payload);
}

export function windowUpdate(stream: number, bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frame(FRAME.window, 0, stream, payload);
}

export function reset(stream: number, code: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(code);
  return frame(FRAME.reset, 0, stream, payload);
}

/** A payload without padding and priority; kind `internal` when they do not fit it. */
export function contentOf({ flags, payload }: Frame, mayHavePriority: boolean): Buffer {
  let start = 0;
  let end = payload.length;
  if ((flags & FLAG.padded) !== 0) {
    start = 1;
    end -= payload[0] ?? 0;
  }
  if (mayHavePriority && (flags & FLAG.priority) !== 0) start += 5;
  if (start > end) throw new TrineError("internal", "the server sends a frame that is all padding");
  return payload.subarray(start, end);
}

/** Cuts a stream of bytes into frames. Payloads are parts of what came, not copies, where that is whole. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Kind `exhausted` for a frame that is longer than allowed. */
  *take(chunk: Buffer): Generator<Frame, void> {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= HEADER_BYTES) {
      const length = bytes.readUIntBE(0, 3);
      if (length > MAX_PAYLOAD) {
        throw new TrineError("exhausted", `the server sends a frame of ${length} bytes`);
      }
      const end = HEADER_BYTES + length;
      if (bytes.length < end) break;
      yield {
        type: bytes.readUInt8(3),
        flags: bytes.readUInt8(4),
        stream: bytes.readUInt32BE(5) & 0x7fffffff,
        payload: bytes.subarray(HEADER_BYTES, end),
      };
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
  }
}
