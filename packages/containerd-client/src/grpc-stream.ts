import { TrineError, messageOf } from "@trine/base";
import type { RequestEnded } from "@trine/base";
import { decodeMessage, grpcError } from "./grpc-error.ts";
import type { Headers } from "./http2/hpack.ts";
import type { Http2Session } from "./http2/session.ts";
import { RECEIVE_WINDOW } from "./http2/stream.ts";
import type { Http2Stream } from "./http2/stream.ts";

const HEADER_BYTES = 5;
/** A message is taken when it is whole, and the window is given back by quarters: a longer one would never be whole. */
const MAX_BYTES = (RECEIVE_WINDOW * 3) / 4 - HEADER_BYTES;

export interface StreamOptions {
  /** For errors. */
  readonly name: string;
  readonly maxBytes: number;
  /** Told once, when it is over. */
  readonly ended?: ((ended: RequestEnded) => void) | undefined;
}

/** One streaming call: messages both ways, each waiting for the slower side. */
export class GrpcStream {
  readonly #stream: Http2Stream;
  readonly #name: string;
  readonly #maxBytes: number;
  #pending: Buffer[] = [];
  #have = 0;
  #isDone = false;
  #status: string | undefined;
  #words = "";
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  #received = 0;
  #ended: ((ended: RequestEnded) => void) | undefined;

  constructor(session: Http2Session, headers: Headers, how: StreamOptions) {
    this.#name = how.name;
    this.#maxBytes = Math.min(how.maxBytes, MAX_BYTES);
    this.#ended = how.ended;
    this.#stream = session.request(headers, {
      headers: (fields) => {
        this.#status = fields["grpc-status"] ?? this.#status;
        this.#words = decodeMessage(fields["grpc-message"] ?? this.#words);
      },
      data: (chunk) => {
        this.#pending.push(chunk);
        this.#have += chunk.length;
        this.#received += chunk.length;
        this.#wake?.();
      },
      end: () => {
        this.#finish();
      },
      // Told by the next call.
      fail: (cause) => {
        this.#failure = cause;
        this.#finish();
      },
    });
  }

  /** Sends one message, given in parts; resolves when there is room for the next. */
  async send(...parts: readonly Uint8Array[]): Promise<void> {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32BE(
      parts.reduce((sum, part) => sum + part.length, 0),
      1,
    );
    this.#stream.send([header, ...parts], false);
    await this.#stream.drained();
    if (this.#stream.isOver) throw this.#whyOver();
  }

  /** No more messages from here. */
  end(): void {
    this.#stream.send([], true);
  }

  /** The next message; undefined when the server has ended the call well. Called by one at a time. */
  async receive(): Promise<Uint8Array | undefined> {
    for (;;) {
      const message = this.#next();
      if (message !== undefined) return message;
      if (this.#isDone) break;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure === undefined && this.#status === "0" && this.#have === 0) return undefined;
    throw this.#whyOver();
  }

  /** Gives the call up; repeatable. */
  close(): void {
    this.#stream.close();
    this.#finish();
  }

  #finish(): void {
    this.#isDone = true;
    this.#wake?.();
    const status = this.#status === "0" ? "ok" : (this.#status ?? "given up");
    this.#ended?.({ status, receivedBytes: this.#received });
    this.#ended = undefined;
  }

  /** The first message, when it is whole. */
  #next(): Uint8Array | undefined {
    if (this.#have < HEADER_BYTES) return undefined;
    if ((this.#pending[0]?.length ?? 0) < HEADER_BYTES) this.#pending = [this.#joined()];
    const length = this.#pending[0]?.readUInt32BE(1) ?? 0;
    if (length > this.#maxBytes) {
      throw new TrineError("exhausted", `${this.#name}: a message of ${length} bytes`);
    }
    const whole = HEADER_BYTES + length;
    if (this.#have < whole) return undefined;
    const all = this.#joined();
    this.#pending = [all.subarray(whole)];
    this.#have -= whole;
    this.#stream.take(whole);
    return all.subarray(HEADER_BYTES, whole);
  }

  #joined(): Buffer {
    const [only, ...more] = this.#pending;
    return only !== undefined && more.length === 0 ? only : Buffer.concat(this.#pending);
  }

  #whyOver(): TrineError {
    if (this.#failure instanceof TrineError) return this.#failure;
    if (this.#status !== undefined && this.#status !== "0") {
      return grpcError(this.#name, Number(this.#status), this.#words);
    }
    const why = this.#failure === undefined ? "the call was cut off" : messageOf(this.#failure);
    return new TrineError("unavailable", `${this.#name}: ${why}`, { cause: this.#failure });
  }
}
