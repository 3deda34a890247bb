import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { connect as connectSocket } from "node:net";
import { TrineError, messageOf } from "@trine/base";
import { decodeMessage, grpcError } from "./grpc-error.ts";
import { GrpcStream } from "./grpc-stream.ts";

// By name only: an import statement would run getters of each export.
const { connect, constants } = process.getBuiltinModule("node:http2");

const HEADER_BYTES = 5;
/** Answers of CRI are read whole; a window of a frame's size would cost a round trip each 64 KiB. */
const WINDOW_BYTES = 8 * 1024 * 1024;

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
  #session: ClientHttp2Session | undefined;

  constructor(socket: string, maxBytes: number) {
    this.#socket = socket;
    this.#maxBytes = maxBytes;
  }

  async call(call: UnaryCall): Promise<Uint8Array> {
    if (call.signal?.aborted === true) {
      throw new TrineError("canceled", `${call.name}: canceled before it was sent`);
    }
    const stream = this.#connect().request({
      ":method": "POST",
      ":path": call.path,
      "content-type": "application/grpc",
      te: "trailers",
      "grpc-timeout": `${Math.max(1, Math.ceil(call.timeoutMs))}m`,
      ...call.headers,
    });
    return exchange(stream, call, this.#maxBytes);
  }

  /** Starts a streaming call, which has no deadline of its own. */
  open(path: string, name: string, headers: GrpcHeaders = {}): GrpcStream {
    const stream = this.#connect().request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    return new GrpcStream(stream, name, this.#maxBytes);
  }

  close(): void {
    this.#session?.destroy();
    this.#session = undefined;
  }

  #connect(): ClientHttp2Session {
    const known = this.#session;
    if (known !== undefined && !known.closed && !known.destroyed) return known;
    const session = connect("http://localhost", {
      createConnection: () => connectSocket(this.#socket),
      settings: { initialWindowSize: WINDOW_BYTES },
    });
    session.on("connect", () => {
      session.setLocalWindowSize(WINDOW_BYTES);
    });
    // Every call that is under way learns of it by its own stream.
    session.on("error", () => undefined);
    session.on("goaway", () => {
      if (this.#session === session) this.#session = undefined;
    });
    this.#session = session;
    return session;
  }
}

function exchange(
  stream: ClientHttp2Stream,
  call: UnaryCall,
  maxBytes: number,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const answer = new Answer(call.name, maxBytes);
    const end = (error: Error | undefined, bytes?: Uint8Array): void => {
      clearTimeout(timer);
      call.signal?.removeEventListener("abort", abort);
      stream.close(constants.NGHTTP2_CANCEL);
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
    stream.on("response", (headers) => {
      answer.headers(headers);
    });
    stream.on("trailers", (headers: IncomingHttpHeaders) => {
      answer.headers(headers);
    });
    stream.on("data", (chunk: Buffer) => {
      const error = answer.take(chunk);
      if (error !== undefined) end(error);
    });
    stream.on("end", () => {
      const result = answer.finish();
      if (result instanceof Error) end(result);
      else end(undefined, result);
    });
    stream.on("error", (cause) => {
      end(new TrineError("unavailable", `${call.name}: ${messageOf(cause)}`, { cause }));
    });
    stream.on("close", () => {
      end(new TrineError("unavailable", `${call.name}: the connection was closed`));
    });
    stream.end(frame(call.request));
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

  headers(headers: IncomingHttpHeaders & { ":status"?: number | undefined }): void {
    this.#httpStatus = headers[":status"] ?? this.#httpStatus;
    const status = headers["grpc-status"];
    if (typeof status === "string") this.#status = status;
    const message = headers["grpc-message"];
    if (typeof message === "string") this.#message = decodeMessage(message);
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
