import { constants } from "node:http2";
import type { ClientHttp2Stream } from "node:http2";
import { AnswerStatus } from "./back-end.ts";
import type { BackEnd, Metadata } from "./back-end.ts";
import { callOff, expireIn } from "./expiry.ts";
import type { Expiry } from "./expiry.ts";
import { BackEndFailure, CODE, codeOf, metadataOf, trailersOf } from "./grpc-status.ts";
import type { Trailers } from "./grpc-status.ts";
import type { ServerCall } from "./server-call.ts";

/** Of a call that has ended before it was sent on. */
const GONE = trailersOf(CODE.canceled, "nobody waits for the answer");

/** What is done beside passing an answer on. */
export interface Beside {
  /** Sees each part of the answer, in gRPC's frames, when it is on its way. */
  readonly see?: (part: Buffer) => void;
  /** A back end that has sent nothing by then counts as away; absent: as long as the client waits. */
  readonly patienceMs?: number;
}

/** Passes a call on as the bytes it came in, and the answer back: neither is decoded, whoever is slower sets the pace. */
export async function relay(call: ServerCall, backEnd: BackEnd): Promise<void> {
  const end = await pass(call, backEnd);
  call.end(end instanceof BackEndFailure ? end.trailers : end);
}

/**
 * The same without the answer's end: its trailers, or a failure of a back end that sent nothing, so that something else may be
 * answered in its place.
 */
export function pass(
  call: ServerCall,
  backEnd: BackEnd,
  beside: Beside = {},
): Promise<Trailers | BackEndFailure> {
  call.backEnd = backEnd.name;
  if (call.isGone) return Promise.resolve(new BackEndFailure(CODE.canceled, GONE));
  const stream = backEnd.send(call.path, call.message, call.sendOptions);
  const { promise, resolve } = Promise.withResolvers<Trailers | BackEndFailure>();
  new Passing(call, stream, new AnswerStatus(backEnd.name, stream), { ...beside, resolve });
  return promise;
}

/** One answer on its way. */
class Passing {
  readonly #call: ServerCall;
  readonly #stream: ClientHttp2Stream;
  readonly #status: AnswerStatus;
  readonly #beside: Beside & { readonly resolve: (end: Trailers | BackEndFailure) => void };
  readonly #late: Expiry | undefined;
  readonly #cancel = (): void => {
    this.#stream.close(constants.NGHTTP2_CANCEL);
  };
  /** The headers of an answer; they go out with its first bytes. */
  #metadata: Metadata | undefined;
  #hasSent = false;
  #isWaiting = false;
  #isLate = false;
  #isOver = false;

  constructor(
    call: ServerCall,
    stream: ClientHttp2Stream,
    status: AnswerStatus,
    beside: Beside & { readonly resolve: (end: Trailers | BackEndFailure) => void },
  ) {
    this.#call = call;
    this.#stream = stream;
    this.#status = status;
    this.#beside = beside;
    const { patienceMs } = beside;
    if (patienceMs !== undefined) {
      this.#late = expireIn(patienceMs, () => {
        this.#isLate = true;
        this.#cancel();
      });
    }
    call.onGone(this.#cancel);
    stream.on("response", (headers) => {
      const isAnswer = headers["grpc-status"] === undefined && headers[":status"] === 200;
      if (isAnswer) this.#metadata = metadataOf(headers);
    });
    stream.on("data", (chunk: Buffer) => {
      this.#onData(chunk);
    });
    // All of it is there with the trailers, unless some of it still waits for the client.
    stream.on("trailers", () => {
      if (!this.#isWaiting && stream.readableLength === 0) this.#end();
    });
    stream.once("end", () => {
      if (this.#status.isWhole) this.#end();
    });
    stream.once("close", () => {
      this.#end();
    });
  }

  #onData(chunk: Buffer): void {
    if (!this.#hasSent) {
      this.#hasSent = true;
      callOff(this.#late);
      this.#call.respond(this.#metadata);
    }
    const hasRoom = this.#call.write(chunk);
    this.#beside.see?.(chunk);
    if (hasRoom || this.#isWaiting) return;
    this.#isWaiting = true;
    this.#stream.pause();
    this.#call.drained(() => {
      this.#isWaiting = false;
      this.#stream.resume();
    });
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    callOff(this.#late);
    this.#call.offGone(this.#cancel);
    const { resolve, patienceMs = 0 } = this.#beside;
    if (this.#isLate) {
      resolve(this.#status.cutOff(new Error(`no answer within ${Math.ceil(patienceMs)} ms`)));
      return;
    }
    const { trailers } = this.#status;
    const code = codeOf(trailers);
    if (!this.#hasSent && code !== 0 && this.#metadata === undefined) {
      resolve(new BackEndFailure(code, trailers));
      return;
    }
    if (!this.#hasSent) this.#call.respond(this.#metadata);
    resolve(trailers);
  }
}
