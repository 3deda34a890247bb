import { connect } from "node:net";
import type { Socket } from "node:net";
import { FLAG, FRAME, FrameReader, MAX_PAYLOAD, contentOf, frame, reset } from "./frames.ts";
import { settings, windowUpdate } from "./frames.ts";
import type { Frame } from "./frames.ts";
import { HeaderDecoder, encodeHeaders } from "./hpack.ts";
import type { Headers } from "./hpack.ts";
import { Http2Stream, RECEIVE_WINDOW } from "./stream.ts";
import type { Link, StreamEvents } from "./stream.ts";

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
/** What both sides may send before anybody says otherwise. */
const FIRST_WINDOW = 65_535;
const SETTING_PUSH = 2;
const SETTING_WINDOW = 4;
const SETTING_HEADERS = 6;
const CANCEL = 8;
const MAX_HEADERS = 64 * 1024;
const LAST_ID = 0x7fffffff;

/**
 * The client's side of an HTTP/2 connection on a unix socket (RFC 9113), as much of it as gRPC needs. Node's own
 * would do the same, and costs as much time to load as Node to start: it brings TLS and HTTP/1 with it.
 */
export class Http2Session implements Link {
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  readonly #decoder = new HeaderDecoder();
  readonly #streams = new Map<number, Http2Stream>();
  /** A header block that goes on in the next frame. */
  #open: { stream: number; flags: number; parts: Buffer[]; size: number } | undefined;
  #nextId = 1;
  #peerWindow = FIRST_WINDOW;
  #received = 0;
  #isLeaving = false;
  window = FIRST_WINDOW;

  constructor(path: string) {
    this.#socket = connect(path);
    this.#socket.on("data", (chunk: Buffer) => {
      this.#take(chunk);
    });
    this.#socket.on("drain", () => {
      for (const stream of this.#streams.values()) stream.wake();
    });
    this.#socket.on("error", (cause) => {
      this.#end(cause);
    });
    this.#socket.on("close", () => {
      this.#end(new Error("the connection was closed"));
    });
    const values = [
      [SETTING_PUSH, 0],
      [SETTING_WINDOW, RECEIVE_WINDOW],
      [SETTING_HEADERS, MAX_HEADERS],
    ] as const;
    this.write([PREFACE, settings(values), windowUpdate(0, RECEIVE_WINDOW - FIRST_WINDOW)]);
  }

  /** Whether another request may be made on it. */
  get isUsable(): boolean {
    return !this.#isLeaving && !this.#socket.destroyed && this.#nextId < LAST_ID;
  }

  get isFull(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Begins a request; `events` are called from a later turn on. */
  request(headers: Headers, events: StreamEvents): Http2Stream {
    const id = this.#nextId;
    this.#nextId += 2;
    const block = encodeHeaders(headers);
    const stream = new Http2Stream(id, this, this.#peerWindow, events);
    this.#streams.set(id, stream);
    this.write(headerFrames(id, block));
    return stream;
  }

  /** Ends all of it; streams that are under way fail. */
  destroy(): void {
    this.#end(new Error("the connection was closed"));
  }

  write(parts: readonly Uint8Array[]): void {
    if (this.#socket.destroyed) return;
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork();
      // What one turn writes goes out in one call.
      process.nextTick(() => {
        this.#socket.uncork();
      });
    }
    for (const part of parts) this.#socket.write(part);
  }

  giveBack(stream: number, bytes: number): void {
    this.write([windowUpdate(stream, bytes)]);
  }

  leave(id: number, isReset: boolean): void {
    this.#streams.delete(id);
    if (isReset) this.write([reset(id, CANCEL)]);
    if (this.#isLeaving && this.#streams.size === 0) this.#socket.end();
  }

  #end(cause: Error): void {
    this.#isLeaving = true;
    this.#socket.destroy();
    for (const stream of [...this.#streams.values()]) stream.fail(cause);
  }

  #take(chunk: Buffer): void {
    try {
      for (const each of this.#reader.take(chunk)) this.#on(each);
    } catch (cause) {
      this.#end(cause as Error);
    }
  }

  #on(each: Frame): void {
    if (this.#open !== undefined && each.type !== FRAME.continuation) {
      throw new Error("the server's headers are cut in two");
    }
    switch (each.type) {
      case FRAME.data:
        this.#onData(each);
        return;
      case FRAME.headers:
        this.#onHeaders(each, contentOf(each, true));
        return;
      case FRAME.continuation:
        this.#onHeaders(each, each.payload);
        return;
      case FRAME.settings:
        this.#onSettings(each);
        return;
      case FRAME.window:
        this.#onWindow(each);
        return;
      case FRAME.ping:
        if ((each.flags & FLAG.ack) === 0)
          this.write([frame(FRAME.ping, FLAG.ack, 0, each.payload)]);
        return;
      case FRAME.reset:
        this.#streams
          .get(each.stream)
          ?.fail(new Error(`reset, code ${uint32(each.payload)}`), false);
        return;
      case FRAME.goAway:
        this.#onGoAway(each);
        return;
      default: // A kind of a later version is nothing to us.
    }
  }

  #onData(each: Frame): void {
    const { length } = each.payload;
    this.#received += length;
    if (this.#received >= RECEIVE_WINDOW / 4) {
      this.giveBack(0, this.#received);
      this.#received = 0;
    }
    const stream = this.#streams.get(each.stream);
    stream?.onData(contentOf(each, false), length);
    if ((each.flags & FLAG.endStream) !== 0) stream?.onEnd();
  }

  #onHeaders({ type, stream, flags }: Frame, part: Buffer): void {
    if (type === FRAME.headers) this.#open = { stream, flags, parts: [], size: 0 };
    const open = this.#open;
    if (open?.stream !== stream) throw new Error("the server goes on with headers it never began");
    open.parts.push(part);
    open.size += part.length;
    if (open.size > MAX_HEADERS) throw new Error("the server's headers are too long");
    if ((flags & FLAG.endHeaders) === 0) return;
    this.#open = undefined;
    // Of a stream that is over too: later blocks build on it.
    const headers = this.#decoder.decode(Buffer.concat(open.parts));
    const to = this.#streams.get(stream);
    to?.onHeaders(headers);
    if ((open.flags & FLAG.endStream) !== 0) to?.onEnd();
  }

  #onSettings({ flags, payload }: Frame): void {
    if ((flags & FLAG.ack) !== 0) return;
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      if (payload.readUInt16BE(at) !== SETTING_WINDOW) continue;
      const value = payload.readUInt32BE(at + 2);
      const change = value - this.#peerWindow;
      this.#peerWindow = value;
      for (const stream of this.#streams.values()) stream.widen(change);
    }
    this.write([frame(FRAME.settings, FLAG.ack, 0, Buffer.alloc(0))]);
  }

  #onWindow({ stream, payload }: Frame): void {
    const bytes = uint32(payload);
    if (stream > 0) {
      this.#streams.get(stream)?.widen(bytes);
      return;
    }
    this.window += bytes;
    for (const each of this.#streams.values()) each.pump();
  }

  /** What the server has not begun it will not do; the rest goes on. */
  #onGoAway({ payload }: Frame): void {
    this.#isLeaving = true;
    const last = uint32(payload);
    const over = [...this.#streams.values()].filter(({ id }) => id > last);
    for (const stream of over) stream.fail(new Error("the server takes no more calls"), false);
    if (this.#streams.size === 0) this.#socket.end();
  }
}

function headerFrames(id: number, block: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at === 0 || at < block.length; at += MAX_PAYLOAD) {
    const type = at === 0 ? FRAME.headers : FRAME.continuation;
    const isLast = at + MAX_PAYLOAD >= block.length;
    const flags = isLast ? FLAG.endHeaders : 0;
    frames.push(frame(type, flags, id, block.subarray(at, at + MAX_PAYLOAD)));
  }
  return frames;
}

/** The number a payload begins with, its reserved bit left out. */
function uint32(payload: Buffer): number {
  if (payload.length < 4) throw new Error("the server sends a frame that is too short");
  return payload.readUInt32BE(0) & 0x7fffffff;
}
