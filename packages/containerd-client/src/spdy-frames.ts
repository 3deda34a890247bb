import { TrineError } from "@trine/base";

// Frame layout: SPDY/3.1, draft-mbelshe-httpbis-spdy-00 section 2.2 and 2.6. Numbers are big-endian.
//   control: 1 bit 1, 15 bits version (3), 16 bits type, 8 bits flags, 24 bits length, payload
//   data:    1 bit 0, 31 bits stream id,                8 bits flags, 24 bits length, payload
const CONTROL = 0x8003;
const SYN_STREAM = 1;
const SYN_REPLY = 2;
const RST_STREAM = 3;
const PING = 6;
const FLAG_FIN = 1;
const STATUS_REFUSED = 3;
/** Longest frame we take. Streaming servers copy through buffers of 32 KiB. */
const MAX_FRAME = 1024 * 1024;
/** Longest frame we send: the length field has 24 bits, and short ones let streams alternate. */
const MAX_DATA = 64 * 1024;

export type Frame =
  | { type: "data"; streamId: number; data: Uint8Array; end: boolean }
  | { type: "replied"; streamId: number; end: boolean }
  | { type: "opened"; streamId: number }
  | { type: "reset"; streamId: number; status: number }
  | { type: "ping"; id: number }
  | { type: "other" };

/** Cuts a byte stream into frames; throws `malformed` when it is none of SPDY/3.1. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  *push(chunk: Uint8Array): Generator<Frame> {
    this.#rest = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 8) {
      const length = this.#rest.readUIntBE(5, 3);
      if (length > MAX_FRAME) {
        throw new TrineError(
          "malformed",
          `frame of ${length} bytes; at most ${MAX_FRAME} are taken`,
        );
      }
      if (this.#rest.length < 8 + length) return;
      const frame = this.#rest.subarray(0, 8 + length);
      this.#rest = this.#rest.subarray(8 + length);
      yield parseFrame(frame);
    }
  }
}

function parseFrame(frame: Buffer): Frame {
  const end = (frame.readUInt8(4) & FLAG_FIN) !== 0;
  const payload = frame.subarray(8);
  if ((frame.readUInt8(0) & 0x80) === 0) {
    return { type: "data", streamId: frame.readUInt32BE(0), data: payload, end };
  }
  if (frame.readUInt16BE(0) !== CONTROL) {
    throw new TrineError("malformed", `SPDY version ${frame.readUInt16BE(0) & 0x7fff}, not 3`);
  }
  const type = frame.readUInt16BE(2);
  const needed = type === RST_STREAM ? 8 : 4;
  if (payload.length < needed) return { type: "other" };
  const first = payload.readUInt32BE(0);
  switch (type) {
    case SYN_STREAM:
      return { type: "opened", streamId: first & 0x7fffffff };
    case SYN_REPLY:
      return { type: "replied", streamId: first & 0x7fffffff, end };
    case RST_STREAM:
      return { type: "reset", streamId: first & 0x7fffffff, status: payload.readUInt32BE(4) };
    case PING:
      return { type: "ping", id: first };
    default:
      return { type: "other" };
  }
}

export function dataFrame(streamId: number, data: Uint8Array, end: boolean): Buffer {
  const parts: Uint8Array[] = [];
  let offset = 0;
  do {
    const part = data.subarray(offset, offset + MAX_DATA);
    offset += part.length;
    const head = Buffer.alloc(8);
    head.writeUInt32BE(streamId, 0);
    head.writeUIntBE(part.length, 5, 3);
    if (end && offset >= data.length) head.writeUInt8(FLAG_FIN, 4);
    parts.push(head, part);
  } while (offset < data.length);
  return Buffer.concat(parts);
}

export function synStreamFrame(
  streamId: number,
  headers: Readonly<Record<string, string>>,
): Buffer {
  const fixed = Buffer.alloc(10); // id, associated id 0, priority 0 and slot 0
  fixed.writeUInt32BE(streamId, 0);
  return controlFrame(SYN_STREAM, Buffer.concat([fixed, headerBlock(streamId === 1, headers)]));
}

export function resetFrame(streamId: number): Buffer {
  const payload = Buffer.alloc(8);
  payload.writeUInt32BE(streamId, 0);
  payload.writeUInt32BE(STATUS_REFUSED, 4);
  return controlFrame(RST_STREAM, payload);
}

export function pongFrame(id: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(id, 0);
  return controlFrame(PING, payload);
}

function controlFrame(type: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(CONTROL, 0);
  head.writeUInt16BE(type, 2);
  head.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([head, payload]);
}

/**
 * Header blocks of a connection form one zlib stream. Ours is made of stored deflate blocks (RFC 1951
 * 3.2.4), which need neither the protocol's dictionary nor state, and end on a byte boundary. The empty
 * block after each is zlib's sync flush: Go's reader hands out what it has only there.
 */
function headerBlock(first: boolean, headers: Readonly<Record<string, string>>): Buffer {
  const pairs = Object.entries(headers);
  const plain = Buffer.concat([
    uint32(pairs.length),
    ...pairs.flatMap(([name, value]) => [counted(name.toLowerCase()), counted(value)]),
  ]);
  if (plain.length > 0xffff) {
    throw new TrineError("invalid", `stream headers of ${plain.length} bytes; at most 65535 fit`);
  }
  const stored = Buffer.alloc(5);
  stored.writeUInt16LE(plain.length, 1);
  stored.writeUInt16LE(plain.length ^ 0xffff, 3);
  const zlibHead = first ? Buffer.from([0x78, 0x01]) : Buffer.alloc(0);
  const flush = Buffer.from([0, 0, 0, 0xff, 0xff]);
  return Buffer.concat([zlibHead, stored, plain, flush]);
}

function counted(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
