import { chmod, chown } from "node:fs/promises";
import { constants, createServer } from "node:http2";
import type {
  Http2Server,
  IncomingHttpHeaders,
  ServerHttp2Session,
  ServerHttp2Stream,
} from "node:http2";
import { TrineError, kindOf, listenUnix, messageOf } from "@trine/base";
import { callOff, expireIn } from "./expiry.ts";
import { FrameReader, MAX_MESSAGE_BYTES } from "./grpc-frame.ts";
import { METHODS } from "./methods.ts";
import type { How } from "./methods.ts";
import { ServerCall } from "./server-call.ts";

/** Limits against clients that open and do not go on. The socket is root's and a group's: they are generous. */
export interface ServerLimits {
  readonly connections: number;
  /** Calls of one connection at a time. */
  readonly streams: number;
  /** Requests that are not whole yet, of all connections: their bytes. */
  readonly pendingBytes: number;
  /** How long a request may take to come whole. */
  readonly requestMs: number;
}

const DEFAULT_LIMITS: ServerLimits = {
  connections: 1024,
  streams: 1_000,
  pendingBytes: 16 * MAX_MESSAGE_BYTES,
  requestMs: 30_000,
};
/** MiB: node:http2's own 10 refuse streams once a few long answers wait for a slow client. */
const SESSION_MEMORY_MIB = 512;

export type Handle = (call: ServerCall, how: How) => Promise<void>;
export type Done = (call: ServerCall, seconds: number) => void;

/** The gateway's side towards kubelet: reads requests whole, within limits, and hands them to `handle`. */
export class GrpcServer {
  readonly #server: Http2Server;
  readonly #limits: ServerLimits;
  readonly #handle: Handle;
  readonly #done: Done;
  readonly #sessions = new Set<ServerHttp2Session>();
  #pending = 0;

  constructor(parts: { handle: Handle; done: Done; limits?: Partial<ServerLimits> }) {
    this.#handle = parts.handle;
    this.#done = parts.done;
    this.#limits = { ...DEFAULT_LIMITS, ...parts.limits };
    this.#server = createServer({
      maxSessionMemory: SESSION_MEMORY_MIB,
      settings: { maxConcurrentStreams: this.#limits.streams },
    });
    this.#server.maxConnections = this.#limits.connections;
    this.#server.on("session", (session) => {
      this.#sessions.add(session);
      // Of a client that speaks no HTTP/2; its connection is closed with it.
      session.on("error", () => {
        session.destroy();
      });
      session.once("close", () => this.#sessions.delete(session));
    });
    this.#server.on("stream", (stream: ServerHttp2Stream, headers) => {
      void this.#serve(stream, headers);
    });
  }

  /** Requests that are not whole yet, in bytes. */
  get pendingBytes(): number {
    return this.#pending;
  }

  /**
   * Listens on a socket that root may open, and the group with this id (undefined: nobody else). A socket nobody answers on is
   * replaced; one that answers is kind `alreadyExists`, a file of another type `wrongState`.
   */
  async listen(path: string, groupId: number | undefined): Promise<void> {
    await listenUnix(this.#server, path);
    if (groupId === undefined) return;
    await chown(path, process.getuid?.() ?? 0, groupId);
    await chmod(path, 0o660);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const session of this.#sessions) session.destroy();
    await closed;
  }

  async #serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    // Told by its close, which cancels the call.
    stream.on("error", () => undefined);
    if (headers["content-type"]?.startsWith("application/grpc") !== true) {
      stream.respond({ ":status": 415 }, { endStream: true });
      stream.close(constants.NGHTTP2_NO_ERROR);
      return;
    }
    const start = performance.now();
    const call = new ServerCall(stream, headers);
    try {
      call.startDeadline();
      call.message = await this.#read(stream);
      await this.#handle(call, howOf(call.path));
      if (call.code === undefined) {
        throw new TrineError("internal", `${call.path}: the gateway has not answered`);
      }
    } catch (cause) {
      call.fail(cause);
    }
    this.#done(call, (performance.now() - start) / 1000);
  }

  /** The one message of a request. */
  #read(stream: ServerHttp2Stream): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const reader = new FrameReader();
    const messages: Buffer[] = [];
    let held = 0;
    const late = expireIn(this.#limits.requestMs, () => {
      reject(new TrineError("timeout", `no whole request within ${this.#limits.requestMs} ms`));
    });
    stream.on("data", (chunk: Buffer) => {
      try {
        held += chunk.length;
        this.#pending += chunk.length;
        if (this.#pending > this.#limits.pendingBytes) {
          throw new TrineError("exhausted", "too many requests are not whole yet");
        }
        messages.push(...reader.take(chunk));
        if (messages.length > 1) throw new TrineError("malformed", "one message is taken");
      } catch (cause) {
        reject(kindOf(cause) === "internal" ? new Error(messageOf(cause)) : (cause as Error));
      }
    });
    stream.once("end", () => {
      const [message] = messages;
      if (message !== undefined && reader.pending === 0) resolve(message);
      else reject(new TrineError("malformed", "the request ended within its message"));
    });
    const left = (): void => {
      reject(new TrineError("canceled", "the client left"));
    };
    stream.once("close", left);
    return promise.finally(() => {
      callOff(late);
      this.#pending -= held;
      held = 0;
      stream.off("close", left);
      stream.removeAllListeners("data");
      stream.resume(); // what still comes is thrown away
    });
  }
}

/** Kind `unimplemented`, in the words of gRPC's own servers, for a call that is in no table. */
function howOf(path: string): How {
  const how = METHODS.get(path);
  if (how !== undefined) return how;
  const [, service = "", method = ""] = path.split("/");
  const isKnown = [...METHODS.keys()].some((each) => each.startsWith(`/${service}/`));
  const words = isKnown
    ? `unknown method ${method} for service ${service}`
    : `unknown service ${service}`;
  throw new TrineError("unimplemented", words);
}
