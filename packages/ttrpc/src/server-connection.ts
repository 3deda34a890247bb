import type { Duplex } from "node:stream";
import { create, toBinary } from "@bufbuild/protobuf";
import { TrineError, kindOf } from "@trine/base";
import { ResponseSchema } from "@trine/proto/ttrpc";
import type { Request } from "@trine/proto/ttrpc";
import { FrameSocket } from "./frame-socket.ts";
import { MAX_BODY_BYTES, REMOTE_OPEN, REQUEST, RESPONSE } from "./frame.ts";
import type { Frame } from "./frame.ts";
import { decodeRequest, runCall } from "./server-call.ts";
import type { CallName, ErrorListener, Route } from "./server-call.ts";
import { toStatus } from "./status.ts";

const MAX_PENDING = 1024;

export interface ConnectionDeps {
  readonly routeOf: (service: string, method: string) => Route | undefined;
  readonly onError: ErrorListener;
  readonly abortWhenClientGone: boolean;
}

/** One client: its calls run side by side and are answered in the order they end. */
export class ServerConnection {
  readonly #deps: ConnectionDeps;
  readonly #socket: FrameSocket;
  readonly #calls = new Map<AbortController, Promise<void>>();
  #lastStream = 0;
  readonly closed: Promise<void>;

  constructor(socket: Duplex, deps: ConnectionDeps) {
    this.#deps = deps;
    this.#socket = new FrameSocket(socket, (frame) => {
      this.#onFrame(frame);
    });
    this.closed = this.#socket.closed.then((failure) => {
      if (failure !== undefined) deps.onError(failure, {});
      if (deps.abortWhenClientGone)
        this.#abortAll(new TrineError("canceled", "the client is gone"));
    });
  }

  get pendingCalls(): number {
    return this.#calls.size;
  }

  /**
   * Ends the connection before it aborts the calls: a client that gets no answer asks the next server,
   * one that gets "canceled" would take the call for failed. Resolves when all handlers have ended.
   */
  async close(): Promise<void> {
    this.#socket.close();
    this.#abortAll(new TrineError("canceled", "the server is closing"));
    await Promise.all(this.#calls.values());
  }

  #abortAll(reason: TrineError): void {
    for (const abort of this.#calls.keys()) abort.abort(reason);
  }

  /** Kinds of frames we do not know are ignored, as containerd's server does. */
  #onFrame(frame: Frame): void {
    if (frame.kind !== REQUEST) return;
    if (frame.stream % 2 !== 1 || frame.stream <= this.#lastStream) {
      throw new TrineError(
        "malformed",
        `ttrpc request on stream ${frame.stream} after ${this.#lastStream}: ids are odd and increase`,
      );
    }
    this.#lastStream = frame.stream;
    const abort = new AbortController();
    const call = this.#answer(frame, abort).finally(() => {
      this.#calls.delete(abort);
    });
    this.#calls.set(abort, call);
    this.#socket.throttle();
  }

  async #answer(frame: Frame, abort: AbortController): Promise<void> {
    let name: CallName = {};
    try {
      const request = decodeRequest(frame.body);
      name = { service: request.service, method: request.method };
      this.#respond(frame.stream, { payload: await this.#run(frame, request, abort) });
    } catch (cause) {
      if (kindOf(cause) === "internal") this.#deps.onError(cause, name);
      this.#respond(frame.stream, { status: toStatus(cause) });
    }
  }

  async #run(frame: Frame, request: Request, abort: AbortController): Promise<Uint8Array> {
    const { service, method } = request;
    if ((frame.flags & REMOTE_OPEN) !== 0) {
      throw new TrineError("unimplemented", `${service}/${method}: streaming is not supported`);
    }
    if (this.#calls.size >= MAX_PENDING) {
      throw new TrineError("exhausted", `${MAX_PENDING} calls of this connection are running`);
    }
    const route = this.#deps.routeOf(service, method);
    return runCall(route, request, abort, this.#deps.onError);
  }

  #respond(
    stream: number,
    response: { payload?: Uint8Array; status?: { code: number; message: string } },
  ): void {
    const body = toBinary(ResponseSchema, create(ResponseSchema, response));
    if (body.length > MAX_BODY_BYTES) {
      throw new TrineError("exhausted", `answer of ${body.length} bytes is over ttrpc's limit`);
    }
    this.#socket.send(stream, RESPONSE, body);
    this.#socket.throttle();
  }
}
