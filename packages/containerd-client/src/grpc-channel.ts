import { TrineError, kindOf, messageOf, observed } from "@trine/base";
import type { OnRequest } from "@trine/base";
import { decodeMessage, grpcError } from "./grpc-error.ts";
import { GrpcStream } from "./grpc-stream.ts";
import type { Headers } from "./http2/hpack.ts";
import { Http2Session } from "./http2/session.ts";

const HEADER_BYTES = 5;

export interface UnaryCall {
  /** `/package.Service/Method` */
  readonly path: string;
  /** The method's name, for errors. */
  readonly name: string;
  readonly request: Uint8Array;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Metadata beside gRPC's own. */
  readonly headers?: GrpcHeaders;
}

export type GrpcHeaders = Readonly<Record<string, string>>;

/**
 * Unary gRPC over HTTP/2 on a unix socket: connects at the first call, and anew when a connection is gone.
 * An answer longer than `maxBytes` is kind `exhausted`.
 */
export class GrpcChannel {
  readonly #socket: string;
  readonly #maxBytes: number;
  readonly #onRequest: OnRequest | undefined;
  #session: Http2Session | undefined;

  constructor(socket: string, maxBytes: number, onRequest?: OnRequest) {
    this.#socket = socket;
    this.#maxBytes = maxBytes;
    this.#onRequest = onRequest;
  }

  async call(call: UnaryCall): Promise<Uint8Array> {
    if (call.signal?.aborted === true) {
      throw new TrineError("canceled", `${call.name}: canceled before it was sent`);
    }
    const headers = {
      ...requestHeaders(call.path),
      "grpc-timeout": `${Math.max(1, Math.ceil(call.timeoutMs))}m`,
      ...call.headers,
    };
    return observed(
      this.#onRequest,
      { ...this.#naming(call.path), sentBytes: call.request.length },
      () => exchange(this.#connect(), headers, call, this.#maxBytes),
      { done: ({ length }) => ({ status: "ok", receivedBytes: length }), failed: kindOf },
    );
  }

  /** Starts a streaming call, which has no deadline of its own. */
  open(path: string, name: string, headers: GrpcHeaders = {}): GrpcStream {
    const session = this.#connect();
    const fields = { ...requestHeaders(path), ...headers };
    const ended = this.#onRequest?.(this.#naming(path));
    return new GrpcStream(session, fields, { name, maxBytes: this.#maxBytes, ended });
  }

  #naming(path: string): { method: string; target: string } {
    return { method: "gRPC", target: `unix://${this.#socket} ${path}` };
  }

  close(): void {
    this.#session?.destroy();
    this.#session = undefined;
  }

  #connect(): Http2Session {
    if (this.#session?.isUsable !== true) this.#session = new Http2Session(this.#socket);
    return this.#session;
  }
}

function requestHeaders(path: string): Headers {
  return {
    ":method": "POST",
    ":scheme": "http",
    ":authority": "localhost",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  };
}

function exchange(
  session: Http2Session,
  headers: Headers,
  call: UnaryCall,
  maxBytes: number,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const answer = new Answer(call.name, maxBytes);
    const end = (error: Error | undefined, bytes?: Uint8Array): void => {
      clearTimeout(timer);
      call.signal?.removeEventListener("abort", abort);
      stream.close();
      if (error !== undefined) reject(error);
      else resolve(bytes ?? new Uint8Array());
    };
    const abort = (): void => {
      end(new TrineError("canceled", `${call.name}: canceled`));
    };
    // The server has the same deadline; this one is for a server that does not answer at all.
    const timer = setTimeout(() => {
      end(new TrineError("timeout", `${call.name}: no answer within ${call.timeoutMs} ms`));
    }, call.timeoutMs);
    call.signal?.addEventListener("abort", abort, { once: true });
    const stream = session.request(headers, {
      headers: (fields) => {
        answer.headers(fields);
      },
      data: (chunk) => {
        stream.take(chunk.length);
        const error = answer.take(chunk);
        if (error !== undefined) end(error);
      },
      end: () => {
        const result = answer.finish();
        if (result instanceof Error) end(result);
        else end(undefined, result);
      },
      fail: (cause) => {
        end(new TrineError("unavailable", `${call.name}: ${messageOf(cause)}`, { cause }));
      },
    });
    stream.send([frame(call.request)], true);
  });
}

/** gRPC's framing: not compressed, four bytes of length. */
function frame(message: Uint8Array): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}

/** Collects one answer. */
class Answer {
  readonly #name: string;
  readonly #maxBytes: number;
  readonly #chunks: Buffer[] = [];
  #size = 0;
  #httpStatus = 200;
  #status: string | undefined;
  #message = "";

  constructor(name: string, maxBytes: number) {
    this.#name = name;
    this.#maxBytes = maxBytes;
  }

  headers(headers: Headers): void {
    const { ":status": http, "grpc-status": status, "grpc-message": message } = headers;
    if (http !== undefined) this.#httpStatus = Number(http);
    this.#status = status ?? this.#status;
    if (message !== undefined) this.#message = decodeMessage(message);
  }

  take(chunk: Buffer): TrineError | undefined {
    this.#size += chunk.length;
    this.#chunks.push(chunk);
    if (this.#size <= this.#maxBytes + HEADER_BYTES) return undefined;
    return new TrineError("exhausted", `${this.#name}: the answer is too long`);
  }

  finish(): Uint8Array | TrineError {
    if (this.#status !== undefined && this.#status !== "0") {
      return grpcError(this.#name, Number(this.#status), this.#message);
    }
    if (this.#httpStatus !== 200) {
      return new TrineError("internal", `${this.#name}: HTTP ${this.#httpStatus}, is this gRPC?`);
    }
    const bytes = Buffer.concat(this.#chunks);
    const whole =
      bytes.length >= HEADER_BYTES && bytes.readUInt32BE(1) === bytes.length - HEADER_BYTES;
    if (this.#status === undefined || !whole || bytes[0] !== 0) {
      return new TrineError("unavailable", `${this.#name}: the answer is not whole`);
    }
    return bytes.subarray(HEADER_BYTES);
  }
}
