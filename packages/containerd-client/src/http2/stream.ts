import { FLAG, FRAME, MAX_PAYLOAD, frameHeader } from "./frames.ts";
import type { Headers } from "./hpack.ts";

/** Bytes of a stream that the server may send before they are taken. */
export const RECEIVE_WINDOW = 8 * 1024 * 1024;

/** What a stream tells its owner; after `end` or `fail` nothing more. */
export interface StreamEvents {
  /** The answer's headers, and later its trailers. */
  headers(headers: Headers): void;
  data(bytes: Buffer): void;
  /** The server has sent all of it. */
  end(): void;
  fail(cause: Error): void;
}

/** What a stream needs of its connection. */
export interface Link {
  /** Bytes that may be sent now, of all streams. */
  window: number;
  readonly isFull: boolean;
  write(parts: readonly Uint8Array[]): void;
  giveBack(stream: number, bytes: number): void;
  /** The stream is over; `reset` says that the server has to be told. */
  leave(stream: number, reset: boolean): void;
}

/** One request and its answer. */
export class Http2Stream {
  readonly id: number;
  readonly #link: Link;
  readonly #events: StreamEvents;
  #window: number;
  #queue: Uint8Array[] = [];
  #isLast = false;
  #hasEnded = false;
  #isOver = false;
  /** Bytes that came and were not given back yet. */
  #held = 0;
  #taken = 0;
  #waiting: (() => void)[] = [];

  constructor(id: number, link: Link, window: number, events: StreamEvents) {
    this.id = id;
    this.#link = link;
    this.#window = window;
    this.#events = events;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Sends as soon as the server takes it; the last part ends the request. */
  send(parts: readonly Uint8Array[], isLast: boolean): void {
    if (this.#isOver) return;
    this.#queue.push(...parts.filter(({ length }) => length > 0));
    this.#isLast ||= isLast;
    this.pump();
  }

  /** Resolves when all has been handed on, or the stream is over. */
  async drained(): Promise<void> {
    while (!this.#isOver && (this.#queue.length > 0 || this.#link.isFull)) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
  }

  /** So many bytes of the answer are no longer held: the server may send as many more. */
  take(bytes: number): void {
    this.#taken += bytes;
    if (this.#taken < RECEIVE_WINDOW / 4 || this.#isOver) return;
    this.#link.giveBack(this.id, this.#taken);
    this.#held -= this.#taken;
    this.#taken = 0;
  }

  /** Gives the stream up; repeatable, and its owner hears no more. */
  close(): void {
    if (!this.#isOver) this.#finish(true);
  }

  /** For the connection: sends what the windows allow. */
  pump(): void {
    const parts: Uint8Array[] = [];
    for (let room = this.#room(); room > 0; room = this.#room()) {
      const first = this.#queue[0];
      if (first === undefined) break;
      const part = first.subarray(0, room);
      if (part.length === first.length) this.#queue.shift();
      else this.#queue[0] = first.subarray(part.length);
      this.#window -= part.length;
      this.#link.window -= part.length;
      parts.push(this.#dataHeader(part.length), part);
    }
    if (this.#queue.length === 0 && this.#isLast && !this.#hasEnded) {
      parts.push(this.#dataHeader(0));
    }
    if (parts.length > 0) this.#link.write(parts);
    this.wake();
  }

  /** For the connection: whoever waits looks again. */
  wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #room(): number {
    return Math.min(this.#window, this.#link.window, MAX_PAYLOAD);
  }

  #dataHeader(length: number): Buffer {
    const isEnd = this.#isLast && this.#queue.length === 0;
    this.#hasEnded ||= isEnd;
    return frameHeader(FRAME.data, isEnd ? FLAG.endStream : 0, this.id, length);
  }

  widen(bytes: number): void {
    this.#window += bytes;
    this.pump();
  }

  onHeaders(headers: Headers): void {
    this.#events.headers(headers);
  }

  /** `counted` with padding, as windows count. */
  onData(bytes: Buffer, counted: number): void {
    this.#held += counted;
    if (this.#held > RECEIVE_WINDOW) {
      this.fail(new Error("the server sends more than it may"));
      return;
    }
    if (counted > bytes.length) this.take(counted - bytes.length);
    if (bytes.length > 0) this.#events.data(bytes);
  }

  onEnd(): void {
    if (this.#isOver) return;
    this.#finish(!this.#hasEnded);
    this.#events.end();
  }

  /** `tell`: whether the server has to hear of it; not what it has reset itself, or never began (RFC 9113, 5.4.2). */
  fail(cause: Error, tell = true): void {
    if (this.#isOver) return;
    this.#finish(tell);
    this.#events.fail(cause);
  }

  #finish(reset: boolean): void {
    this.#isOver = true;
    this.#queue = [];
    this.#link.leave(this.id, reset);
    this.wake();
  }
}
