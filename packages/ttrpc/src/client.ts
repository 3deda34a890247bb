import { createConnection } from "node:net";
import type { Duplex } from "node:stream";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMethod, DescService, Message } from "@bufbuild/protobuf";
import { TrineError, abortError, abortable, messageOf } from "@trine/base";
import { RequestSchema, ResponseSchema } from "@trine/proto/ttrpc";
import type { Response } from "@trine/proto/ttrpc";
import { FrameSocket } from "./frame-socket.ts";
import { MAX_BODY_BYTES, REQUEST, RESPONSE } from "./frame.ts";
import type { Frame } from "./frame.ts";
import type { CallOptions, ServiceClient } from "./service-types.ts";
import { fromStatus } from "./status.ts";

const MAX_PENDING = 1024;
const MAX_STREAM = 0xffff_ffff;
const NS_PER_MS = 1_000_000;
/** The longest a timer can wait; a longer deadline is only told to the server. */
const MAX_TIMER_MS = 0x7fff_ffff;

interface PendingCall {
  readonly answer: (payload: Uint8Array) => void;
  readonly fail: (cause: unknown) => void;
}

/** One connection to a ttrpc server on a unix socket. Calls run side by side; it never reconnects by itself. */
export class TtrpcClient {
  readonly #address: string;
  readonly #socket: FrameSocket;
  readonly #pending = new Map<number, PendingCall>();
  #nextStream = 1;
  /** Settles when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>;

  private constructor(socket: Duplex, address: string) {
    this.#address = address;
    this.#socket = new FrameSocket(socket, (frame) => {
      this.#onFrame(frame);
    });
    this.closed = this.#socket.closed.then((failure) => {
      this.#onClosed(failure);
    });
  }

  /**
   * Kind `unavailable` when nobody answers at `address` (a path, with or without `unix://`). `preamble` is
   * sent before the first frame, to a server that serves more than one thing on its socket.
   */
  static async connect(
    address: string,
    options: { signal?: AbortSignal; preamble?: string } = {},
  ): Promise<TtrpcClient> {
    const socket = createConnection(address.replace(/^unix:\/\//, ""));
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const onError = (cause: Error): void => {
      reject(
        new TrineError("unavailable", `nobody answers on ${address}: ${cause.message}`, { cause }),
      );
    };
    socket.once("connect", () => {
      resolve(undefined);
    });
    socket.on("error", onError);
    try {
      const { signal } = options;
      await (signal === undefined ? promise : abortable(`connect to ${address}`, signal, promise));
      if (options.preamble !== undefined) socket.write(options.preamble);
      return new TtrpcClient(socket, address);
    } catch (cause) {
      socket.destroy();
      throw cause;
    } finally {
      socket.off("error", onError);
    }
  }

  /** Over a stream that is there, such as one of several on one socket; `name` is for messages. */
  static over(stream: Duplex, name: string): TtrpcClient {
    return new TtrpcClient(stream, name);
  }

  /** Calls waiting for an answer. */
  get pendingCalls(): number {
    return this.#pending.size;
  }

  service<S extends DescService>(service: S): ServiceClient<S> {
    const calls = service.methods
      .filter((method) => method.methodKind === "unary")
      .map((method) => [
        method.localName,
        (request: Message, options?: CallOptions) => this.#call(method, request, options ?? {}),
      ]);
    return Object.fromEntries(calls) as ServiceClient<S>;
  }

  /** Ends the connection; calls still waiting reject with kind `unavailable`. */
  close(): void {
    this.#socket.close();
  }

  async #call(method: DescMethod, init: Message, options: CallOptions): Promise<Message> {
    const name = `${method.parent.typeName}/${method.name}`;
    const body = this.#encode(method, init, options);
    if (body.length > MAX_BODY_BYTES) {
      throw new TrineError("exhausted", `${name}: request of ${body.length} bytes is too large`);
    }
    if (this.#pending.size >= MAX_PENDING) {
      throw new TrineError("exhausted", `${name}: ${MAX_PENDING} calls are waiting already`);
    }
    const payload = await this.#exchange(name, body, options);
    try {
      return fromBinary(method.output, payload);
    } catch (cause) {
      throw new TrineError("malformed", `${name}: answer cannot be read`, { cause });
    }
  }

  #encode(method: DescMethod, init: Message, options: CallOptions): Uint8Array {
    const request = create(RequestSchema, {
      service: method.parent.typeName,
      method: method.name,
      payload: toBinary(method.input, create(method.input, init)),
      timeoutNano: BigInt(Math.round((options.timeoutMs ?? 0) * NS_PER_MS)),
      metadata: Object.entries(options.metadata ?? {}).map(([key, value]) => ({ key, value })),
    });
    return toBinary(RequestSchema, request);
  }

  async #exchange(name: string, body: Uint8Array, options: CallOptions): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    const fail = (cause: unknown): void => {
      reject(TrineError.during(name, cause));
    };
    const { signal } = options;
    const onAbort = (): void => {
      if (signal !== undefined) reject(abortError(name, signal));
    };
    const stream = this.#takeStream();
    this.#pending.set(stream, { answer: resolve, fail });
    signal?.addEventListener("abort", onAbort);
    const timer =
      options.timeoutMs === undefined || options.timeoutMs > MAX_TIMER_MS
        ? undefined
        : setTimeout(() => {
            fail(new TrineError("timeout", `no answer within ${options.timeoutMs ?? 0} ms`));
          }, options.timeoutMs);
    try {
      if (signal?.aborted === true) onAbort();
      else this.#send(stream, body);
      return this.#payloadOf(name, await promise);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      this.#pending.delete(stream);
    }
  }

  /** A call made while the server does not read waits its turn, and is not sent at all when given up before. */
  #send(stream: number, body: Uint8Array): void {
    if (this.#socket.isClosed) {
      this.#pending.get(stream)?.fail(this.#lost(undefined));
    } else if (this.#socket.isCongested) {
      void this.#socket.drained().then(() => {
        if (this.#pending.has(stream)) this.#send(stream, body);
      });
    } else {
      this.#socket.send(stream, REQUEST, body);
    }
  }

  #payloadOf(name: string, body: Uint8Array): Uint8Array {
    const response = decodeResponse(name, body);
    if (response.status !== undefined && response.status.code !== 0) {
      throw fromStatus(name, response.status);
    }
    return response.payload;
  }

  #takeStream(): number {
    const stream = this.#nextStream;
    if (stream > MAX_STREAM) {
      throw new TrineError("exhausted", `${this.#address}: stream ids are used up, connect anew`);
    }
    this.#nextStream += 2;
    return stream;
  }

  /** Answers to calls given up and kinds of frames we do not know are not for anyone: dropped. */
  #onFrame(frame: Frame): void {
    if (frame.kind === RESPONSE) this.#pending.get(frame.stream)?.answer(frame.body);
  }

  #onClosed(failure: Error | undefined): void {
    for (const call of this.#pending.values()) call.fail(this.#lost(failure));
  }

  #lost(failure: Error | undefined): TrineError {
    const why = failure === undefined ? "" : ` (${messageOf(failure)})`;
    return new TrineError("unavailable", `connection to ${this.#address} ended${why}`, {
      cause: failure,
    });
  }
}

function decodeResponse(name: string, body: Uint8Array): Response {
  try {
    return fromBinary(ResponseSchema, body);
  } catch (cause) {
    throw new TrineError("malformed", `${name}: answer cannot be read`, { cause });
  }
}
