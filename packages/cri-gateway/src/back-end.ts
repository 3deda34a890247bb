import { connect as connectHttp2, constants } from "node:http2";
import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  IncomingHttpHeaders,
  OutgoingHttpHeaders,
} from "node:http2";
import { connect as connectSocket } from "node:net";
import { TrineError, abortError, messageOf } from "@trine/base";
import { FrameReader, writeFrame } from "./grpc-frame.ts";
import {
  BackEndFailure,
  codeOf,
  httpCode,
  metadataOf,
  timeoutHeader,
  trailersOf,
} from "./grpc-status.ts";
import type { Trailers } from "./grpc-status.ts";
import type { BackEndAt } from "./routing.ts";
import { checkFields } from "./wire.ts";

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;
/** What a back end may send of one answer before the client has taken any. */
const STREAM_WINDOW = 1024 * 1024;
const SESSION_WINDOW = 16 * STREAM_WINDOW;
/** MiB of a session's streams and headers: node:http2's own 10 end it under load. */
const SESSION_MEMORY_MIB = 512;

export type Metadata = Readonly<Record<string, string | string[]>>;

export interface CallOptions {
  /** Undefined = none. The back end is told of it; enforcing it is the signal's. */
  readonly timeoutMs?: number | undefined;
  readonly metadata?: Metadata;
  readonly signal?: AbortSignal | undefined;
}

/** One CRI server: one HTTP/2 session, made anew while it is gone; calls fail at once meanwhile. */
export class BackEnd {
  readonly name: string;
  readonly socket: string;
  readonly at: BackEndAt;
  readonly #onUp: (backEnd: BackEnd) => void;
  #session: ClientHttp2Session | undefined;
  #retry: NodeJS.Timeout | undefined;
  #retryMs = FIRST_RETRY_MS;
  #isClosed = false;
  /** Why it is not connected; undefined while it is. */
  #down: string | undefined = "not connected yet";

  constructor(at: BackEndAt, onUp: (backEnd: BackEnd) => void) {
    this.at = at;
    this.name = at.name;
    this.socket = at.socket;
    this.#onUp = onUp;
  }

  /** Why it is not connected; undefined while it is. */
  get down(): string | undefined {
    return this.#down;
  }

  /** Connects where it is not connected: at the gateway's start, and by itself after each loss. */
  connect(): ClientHttp2Session {
    if (this.#isClosed) throw new TrineError("wrongState", `back end ${this.name}: closed`);
    const session = this.#session;
    if (session !== undefined && !session.closed && !session.destroyed) return session;
    return this.#open();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#session?.destroy();
  }

  /** Starts a call with this one message; the stream is the caller's to read and to close. */
  send(path: string, message: Uint8Array, options: CallOptions): ClientHttp2Stream {
    const headers: OutgoingHttpHeaders = {
      ...options.metadata,
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    };
    const { timeoutMs } = options;
    if (timeoutMs !== undefined) headers["grpc-timeout"] = timeoutHeader(timeoutMs);
    const stream = this.connect().request(headers);
    writeFrame(stream, message);
    stream.end();
    return stream;
  }

  /** The messages of an answer as they come; a BackEndFailure says what the trailers say. */
  async *stream(path: string, message: Uint8Array, options: CallOptions): AsyncGenerator<Buffer> {
    const { signal } = options;
    if (signal !== undefined && isAborted(signal))
      throw abortError(`back end ${this.name}`, signal);
    const stream = this.send(path, message, options);
    const status = new AnswerStatus(this.name, stream);
    const onAbort = (): void => {
      stream.close(constants.NGHTTP2_CANCEL);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      const reader = new FrameReader();
      for await (const chunk of stream) yield* reader.take(chunk as Buffer);
      await status.whole(reader.pending);
    } catch (cause) {
      if (signal !== undefined && isAborted(signal))
        throw abortError(`back end ${this.name}`, signal);
      throw cause instanceof BackEndFailure || cause instanceof TrineError
        ? cause
        : status.cutOff(cause);
    } finally {
      signal?.removeEventListener("abort", onAbort);
      stream.close(constants.NGHTTP2_CANCEL);
    }
  }

  /** The one message of an answer. */
  async unary(path: string, message: Uint8Array, options: CallOptions): Promise<Buffer> {
    const messages: Buffer[] = [];
    for await (const each of this.stream(path, message, options)) messages.push(each);
    const [only] = messages;
    if (only !== undefined && messages.length === 1) return this.#checked(only);
    throw new TrineError("internal", `back end ${this.name}: ${messages.length} messages for one`);
  }

  /** What is no protobuf is the back end's fault, not the client's. */
  #checked(message: Buffer): Buffer {
    try {
      checkFields(message);
    } catch (cause) {
      throw new TrineError("internal", `back end ${this.name}: ${messageOf(cause)}`, { cause });
    }
    return message;
  }

  #open(): ClientHttp2Session {
    clearTimeout(this.#retry);
    const session = connectHttp2("http://localhost", {
      createConnection: () => connectSocket(this.socket),
      maxSessionMemory: SESSION_MEMORY_MIB,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW },
    });
    this.#session = session;
    let why = "it closed the connection";
    session.once("connect", () => {
      if (session.destroyed) return; // told late of one that was given up meanwhile
      session.setLocalWindowSize(SESSION_WINDOW);
      this.#down = undefined;
      this.#retryMs = FIRST_RETRY_MS;
      this.#onUp(this);
    });
    session.on("error", (cause: Error) => {
      why = messageOf(cause);
      this.#down = why;
    });
    session.once("close", () => {
      if (this.#session !== session) return; // another has taken its place
      this.#down = why;
      this.#retryLater();
    });
    return session;
  }

  #retryLater(): void {
    if (this.#isClosed) return;
    this.#retry = setTimeout(() => this.connect(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
  }
}

/** Asked anew each time: it changes while a call waits. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Watches a stream for what an answer ends with. */
export class AnswerStatus {
  readonly #name: string;
  readonly #closed: Promise<unknown>;
  #trailers: Trailers | undefined;
  #error: Error | undefined;

  constructor(name: string, stream: ClientHttp2Stream) {
    this.#name = name;
    stream.on("response", (headers) => {
      this.#see(headers);
    });
    stream.on("trailers", (headers: IncomingHttpHeaders) => {
      this.#see(headers);
    });
    this.#closed = new Promise((resolve) => stream.once("close", resolve));
    stream.on("error", (cause: Error) => (this.#error = cause));
  }

  /** Whether the back end has said how it ends. */
  get isWhole(): boolean {
    return this.#trailers !== undefined;
  }

  /** Trailers as they came, or of our own where the answer was cut off. */
  get trailers(): Trailers {
    return this.#trailers ?? this.cutOff(this.#error).trailers;
  }

  /** Resolves when the answer ended well, with no bytes of a message left over. */
  async whole(pending: number): Promise<void> {
    await this.#closed;
    if (this.#trailers === undefined) throw this.cutOff(this.#error);
    const code = codeOf(this.#trailers);
    if (code !== 0) throw new BackEndFailure(code, this.trailers);
    if (pending > 0) throw this.cutOff(new Error("an answer ended within a message"));
  }

  cutOff(cause: unknown): BackEndFailure {
    const why = cause === undefined ? "the answer was cut off" : messageOf(cause);
    return BackEndFailure.absent(`back end ${this.#name}: ${why}`);
  }

  #see(headers: IncomingHttpHeaders): void {
    const status = headers[":status"];
    if (headers["grpc-status"] !== undefined) {
      const metadata = metadataOf(headers);
      delete metadata["content-type"];
      this.#trailers = metadata;
    } else if (status !== undefined && Number(status) !== 200) {
      const http = Number(status);
      this.#trailers = trailersOf(
        httpCode(http),
        `back end ${this.#name}: HTTP ${http}, is this gRPC?`,
      );
    }
  }
}
