import { once } from "node:events";
import type { ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { TrineError, messageOf } from "@trine/base";
import { decodeMessage, grpcError } from "./grpc-error.ts";

const HEADER_BYTES = 5;
/** NGHTTP2_CANCEL */
const CANCEL = 8;

/** One streaming call: messages both ways, each waiting for the slower side. */
export class GrpcStream {
  readonly #stream: ClientHttp2Stream;
  readonly #name: string;
  readonly #maxBytes: number;
  readonly #messages: AsyncGenerator<Uint8Array, void>;
  #status: string | undefined;
  #words = "";
  #failure: Error | undefined;

  constructor(stream: ClientHttp2Stream, name: string, maxBytes: number) {
    this.#stream = stream;
    this.#name = name;
    this.#maxBytes = maxBytes;
    const note = (headers: IncomingHttpHeaders): void => {
      this.#note(headers);
    };
    stream.on("response", note);
    stream.on("trailers", note);
    // Told by the next call.
    stream.on("error", (cause) => {
      this.#failure = cause;
    });
    this.#messages = this.#read();
  }

  /** Sends one message, given in parts; resolves when there is room for the next. */
  async send(...parts: readonly Uint8Array[]): Promise<void> {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32BE(
      parts.reduce((sum, part) => sum + part.length, 0),
      1,
    );
    let hasRoom = true;
    for (const part of [header, ...parts]) hasRoom = this.#stream.write(part);
    if (!hasRoom && !this.#stream.destroyed) await this.#room();
    if (this.#stream.destroyed) throw this.#ended();
  }

  async #room(): Promise<void> {
    const over = new AbortController();
    const { signal } = over;
    try {
      await Promise.race([
        once(this.#stream, "drain", { signal }),
        once(this.#stream, "close", { signal }),
      ]);
    } catch {
      // The error is in #failure.
    } finally {
      over.abort();
    }
  }

  /** No more messages from here. */
  end(): void {
    this.#stream.end();
  }

  /** The next message; undefined when the server has ended the call well. */
  async receive(): Promise<Uint8Array | undefined> {
    const next = await this.#messages.next();
    return next.done === true ? undefined : next.value;
  }

  /** Gives the call up; repeatable. */
  close(): void {
    this.#stream.close(CANCEL);
  }

  #note(headers: IncomingHttpHeaders): void {
    const { "grpc-status": status, "grpc-message": words } = headers;
    if (typeof status === "string") this.#status = status;
    if (typeof words === "string") this.#words = decodeMessage(words);
  }

  async *#read(): AsyncGenerator<Uint8Array, void> {
    let pending: Buffer[] = [];
    let have = 0;
    try {
      for await (const chunk of this.#stream as AsyncIterable<Buffer>) {
        pending.push(chunk);
        have += chunk.length;
        let whole = this.#frameBytes(pending, have);
        while (whole !== undefined && have >= whole) {
          const all = Buffer.concat(pending);
          yield all.subarray(HEADER_BYTES, whole);
          pending = [all.subarray(whole)];
          have -= whole;
          whole = this.#frameBytes(pending, have);
        }
      }
    } catch (cause) {
      this.#failure ??= cause as Error;
      throw this.#ended();
    }
    if (this.#status !== "0" || have > 0) throw this.#ended();
  }

  /** Length of the first frame with its header; undefined while that is not there. */
  #frameBytes(pending: Buffer[], have: number): number | undefined {
    if (have < HEADER_BYTES) return undefined;
    if ((pending[0]?.length ?? 0) < HEADER_BYTES)
      pending.splice(0, Infinity, Buffer.concat(pending));
    const length = pending[0]?.readUInt32BE(1) ?? 0;
    if (length <= this.#maxBytes) return HEADER_BYTES + length;
    throw new TrineError("exhausted", `${this.#name}: a message of ${length} bytes`);
  }

  #ended(): TrineError {
    if (this.#failure instanceof TrineError) return this.#failure;
    if (this.#status !== undefined && this.#status !== "0") {
      return grpcError(this.#name, Number(this.#status), this.#words);
    }
    const why = this.#failure === undefined ? "the call was cut off" : messageOf(this.#failure);
    return new TrineError("unavailable", `${this.#name}: ${why}`, { cause: this.#failure });
  }
}
