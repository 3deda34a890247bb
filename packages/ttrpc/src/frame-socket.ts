import type { Duplex } from "node:stream";
import { TrineError } from "@trine/base";
import { FrameDecoder, encodeFrame } from "./frame.ts";
import type { Frame } from "./frame.ts";

/** Above this the peer is not reading as fast as we write: wait for `drained`. */
const CONGESTED_BYTES = 1 << 20;
/** Above this it does not read at all. */
const MAX_QUEUED_BYTES = 64 << 20;

/** Frames over one connected socket. A bad frame, an error or a peer that reads nothing ends the connection. */
export class FrameSocket {
  readonly #socket: Duplex;
  /** Why the connection ended; undefined = the peer closed it, or `close` did. */
  readonly closed: Promise<Error | undefined>;
  #failure: Error | undefined;
  #draining: Promise<void> | undefined;

  constructor(socket: Duplex, onFrame: (frame: Frame) => void) {
    this.#socket = socket;
    const decoder = new FrameDecoder();
    socket.on("data", (bytes: Buffer) => {
      try {
        for (const frame of decoder.push(bytes)) {
          if (socket.destroyed) return;
          onFrame(frame);
        }
      } catch (cause) {
        this.fail(cause instanceof Error ? cause : new Error(String(cause)));
      }
    });
    socket.on("error", (error) => {
      this.#failure ??= error;
    });
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        resolve(this.#failure);
      });
    });
  }

  get isClosed(): boolean {
    return this.#socket.destroyed;
  }

  get isCongested(): boolean {
    return this.#socket.writableLength > CONGESTED_BYTES;
  }

  /** Queues a frame; kind `exhausted` when its body is over the limit. Nothing is sent on an ended connection. */
  send(stream: number, kind: number, body: Uint8Array): void {
    const bytes = encodeFrame(stream, kind, body);
    if (this.isClosed) return;
    this.#socket.write(bytes);
    if (this.#socket.writableLength > MAX_QUEUED_BYTES) {
      this.fail(
        new TrineError("exhausted", `peer left ${this.#socket.writableLength} bytes unread`),
      );
    }
  }

  /** Resolves when what is queued went out, or the connection ended. */
  drained(): Promise<void> {
    this.#draining ??= this.#untilDrained().finally(() => {
      this.#draining = undefined;
    });
    return this.#draining;
  }

  async #untilDrained(): Promise<void> {
    if (!this.#socket.writableNeedDrain) return;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const onDrain = (): void => {
      resolve(undefined);
    };
    this.#socket.once("drain", onDrain);
    await Promise.race([promise, this.closed]);
    this.#socket.off("drain", onDrain);
  }

  /** Takes no more frames in until the queue went out. */
  throttle(): void {
    if (!this.isCongested || this.#socket.isPaused()) return;
    this.#socket.pause();
    void this.drained().then(() => {
      this.#socket.resume();
    });
  }

  fail(failure: Error): void {
    this.#failure ??= failure;
    this.#socket.destroy();
  }

  close(): void {
    this.#socket.destroy();
  }
}
