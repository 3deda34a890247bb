import { constants } from "node:http2";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { TrineError } from "@trine/base";
import type { CallOptions, Metadata } from "./back-end.ts";
import { writeFrame } from "./grpc-frame.ts";
import { callOff, expireIn } from "./expiry.ts";
import type { Expiry } from "./expiry.ts";
import { CODE, codeOf, failureTrailers, metadataOf, timeoutMs, trailersOf } from "./grpc-status.ts";
import type { Trailers } from "./grpc-status.ts";

/** HTTP/2's and gRPC's own: each connection has its own of these. */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  ...["te", "content-type", "content-length", "host", "connection", "grpc-timeout"],
  ...["grpc-encoding", "grpc-accept-encoding", "accept-encoding"],
]);
/** A trailer of lists: names of the back ends that have not answered. */
const ABSENT = "trine-absent";

/** Made once: each new one would take down the stack of its call. */
const LEFT = new TrineError("canceled", "the client left");
const ENDED = new TrineError("canceled", "the answer has ended");

const LATE_WORDS = "context deadline exceeded";
const LATE = trailersOf(CODE.deadlineExceeded, LATE_WORDS);
/** What a back end's answer looks like that ends at its caller's deadline without a word. */
const CUT_OFF: readonly number[] = [CODE.unavailable, CODE.canceled];

/** One call of a client: what it asks, how long it waits, and its answer. */
export class ServerCall {
  /** `/runtime.v1.RuntimeService/Version` */
  readonly path: string;
  /** The request's message; empty until it has been read. */
  message: Buffer = Buffer.alloc(0);
  /** The back end that answered, for the metrics. */
  backEnd = "";
  readonly #stream: ServerHttp2Stream;
  readonly #metadata: Metadata;
  readonly #timeout: string | string[] | undefined;
  /** Why nobody waits for it any more. */
  #gone: TrineError | undefined;
  readonly #whenGone = new Set<() => void>();
  /** Only where somebody asks for the signal: to make one costs more than a call's other work. */
  #aborting: AbortController | undefined;
  #endsAt: number | undefined;
  #deadline: Expiry | undefined;
  #code: number | undefined;
  readonly #absent = new Set<string>();

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders) {
    this.#stream = stream;
    this.path = headers[":path"] ?? "";
    this.#timeout = headers["grpc-timeout"];
    this.#metadata = metadataOf(headers, OWN_HEADERS);
    stream.once("close", () => {
      callOff(this.#deadline);
      this.#leave(LEFT);
    });
  }

  /** From here on its deadline runs. Kind `malformed` when it is none. */
  startDeadline(): void {
    const ms = timeoutMs(this.#timeout);
    if (ms === undefined) return;
    this.#endsAt = performance.now() + ms;
    // Node's timers hold no more: what is longer than 24 days is for ever.
    if (ms < 2 ** 31) {
      this.#deadline = expireIn(ms, () => {
        this.#expire();
      });
    }
  }

  /** Aborts when the client has left, its deadline has passed, or the answer has ended. */
  get signal(): AbortSignal {
    // Before its timer has come: nothing is sent for a call that is late.
    if (this.#gone === undefined && this.#isLate) this.#expire();
    if (this.#aborting === undefined) {
      this.#aborting = new AbortController();
      if (this.#gone !== undefined) this.#aborting.abort(this.#gone);
    }
    return this.#aborting.signal;
  }

  /** Nobody waits for it any more: there is nothing to send to a back end, and nothing to learn of its failure. */
  get isGone(): boolean {
    return this.#gone !== undefined || this.#isLate;
  }

  /** What its signal says, without one: `then` is called once, at once where it has aborted. */
  onGone(then: () => void): void {
    if (this.#gone === undefined) this.#whenGone.add(then);
    else then();
  }

  offGone(then: () => void): void {
    this.#whenGone.delete(then);
  }

  /** What is left of the client's deadline. */
  get leftMs(): number | undefined {
    return this.#endsAt === undefined ? undefined : Math.max(1, this.#endsAt - performance.now());
  }

  /** For the same call to a back end: the client's metadata, deadline and patience. */
  get options(): CallOptions {
    return { ...this.sendOptions, signal: this.signal };
  }

  /** The same for who looks by itself whether the client is gone. */
  get sendOptions(): CallOptions {
    return { metadata: this.#metadata, timeoutMs: this.leftMs };
  }

  /** The metadata alone: for a call that outlives its client. */
  get metadata(): Metadata {
    return this.#metadata;
  }

  /** The status it was answered with; undefined while it was not. */
  get code(): number | undefined {
    return this.#code;
  }

  /** Of this back end the answer has nothing, or what was last known: its end says so. */
  leaveOut(backEnd: string): void {
    this.#absent.add(backEnd);
  }

  /** Back ends that have no part in the answer, though they may have had. */
  get absent(): readonly string[] {
    return [...this.#absent];
  }

  /** Sends the headers; repeatable. */
  respond(metadata: Metadata = {}): void {
    if (this.#stream.headersSent || this.#isOver) return;
    const headers = { ...metadata, ":status": 200, "content-type": "application/grpc" };
    this.#stream.respond(headers, { waitForTrailers: true });
  }

  /** Sends bytes of frames as they are; false: wait for `drained`. After the end they are thrown away. */
  write(bytes: Buffer): boolean {
    if (this.#isOver || this.#code !== undefined) return true;
    return this.#stream.write(bytes);
  }

  #writeMessage(message: Uint8Array): boolean {
    if (this.#isOver || this.#code !== undefined) return true;
    return writeFrame(this.#stream, message);
  }

  /** Calls back once there is room for more. */
  drained(then: () => void): void {
    this.#stream.once("drain", then);
  }

  /** Sends one message; resolves when there is room for the next. */
  async send(message: Uint8Array): Promise<void> {
    this.respond();
    if (this.#writeMessage(message)) return;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const go = (): void => {
      resolve(undefined);
    };
    this.drained(go);
    // A stream that is ending drains no more.
    this.signal.addEventListener("abort", go, { once: true });
    await promise;
    this.signal.removeEventListener("abort", go);
  }

  /** A whole answer of one message. */
  reply(message: Uint8Array): void {
    this.respond();
    this.#writeMessage(message);
    this.end(trailersOf(0));
  }

  /**
   * Ends the answer: with what came so far and these trailers. Only the first end counts; what other back ends still send for it
   * is given up.
   */
  end(trailers: Trailers): void {
    if (this.#code !== undefined) return;
    const told = this.#isLate && CUT_OFF.includes(codeOf(trailers)) ? LATE : trailers;
    this.#code = codeOf(told);
    callOff(this.#deadline);
    this.#finish(this.#absent.size === 0 ? told : { ...told, [ABSENT]: this.absent.join(",") });
    this.#leave(ENDED);
  }

  #finish(trailers: Trailers): void {
    if (this.#isOver) return;
    if (this.#stream.headersSent) {
      this.#stream.once("wantTrailers", () => {
        if (!this.#isOver) this.#stream.sendTrailers(trailers);
      });
      this.#stream.end();
      return;
    }
    const headers = { ...trailers, ":status": 200, "content-type": "application/grpc" };
    this.#stream.respond(headers, { endStream: true });
    // A request that was not read to its end is not wanted any more, once the answer is out.
    if (this.#stream.readableEnded) return;
    setImmediate(() => {
      this.#stream.close(constants.NGHTTP2_NO_ERROR);
    });
  }

  fail(cause: unknown): void {
    this.end(failureTrailers(cause));
  }

  get #isOver(): boolean {
    return this.#stream.closed || this.#stream.destroyed;
  }

  /** Its deadline has passed, whether our own timer has seen it or not. */
  get #isLate(): boolean {
    return this.#endsAt !== undefined && performance.now() >= this.#endsAt;
  }

  #expire(): void {
    const error = new TrineError("timeout", LATE_WORDS);
    this.#leave(error);
    this.fail(error);
  }

  #leave(why: TrineError): void {
    if (this.#gone !== undefined) return;
    this.#gone = why;
    this.#aborting?.abort(why);
    for (const then of this.#whenGone) then();
    this.#whenGone.clear();
  }
}
