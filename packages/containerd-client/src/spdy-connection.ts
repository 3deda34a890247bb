import { type Duplex } from "node:stream";
import { TrineError } from "@trine/base";
import {
  FrameReader,
  type Frame,
  dataFrame,
  pongFrame,
  resetFrame,
  synStreamFrame,
} from "./spdy-frames.ts";
import { SpdyStream } from "./spdy-stream.ts";

const STATUS_CANCEL = 5;

/**
 * The client's side of SPDY/3.1 as Kubernetes' streaming servers speak it, on a connection that has been
 * upgraded. Only we open streams; what the server answers to the opening carries nothing and is not read.
 *
 * There is no flow control: the servers' library sends no WINDOW_UPDATE and does not heed any, so a
 * window would only stall us. A stream whose reader is slow pauses the whole connection instead.
 */
export class SpdyConnection {
  readonly #socket: Duplex;
  readonly #streams = new Map<number, SpdyStream>();
  readonly #slow = new Set<SpdyStream>();
  readonly #reader = new FrameReader();
  #nextId = 1;
  #failure: TrineError | undefined;

  /** `head`: bytes that came with the upgrade's answer. */
  constructor(socket: Duplex, head: Uint8Array) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#receive(chunk);
    });
    socket.on("error", (cause) => {
      this.#fail(
        new TrineError("unavailable", `streaming connection: ${cause.message}`, { cause }),
      );
    });
    socket.on("close", () => {
      this.#fail(new TrineError("unavailable", "streaming connection: closed by the server"));
    });
    if (head.length > 0) this.#receive(head);
  }

  /** Opens a stream with these headers; names in lower case. */
  open(headers: Readonly<Record<string, string>>): SpdyStream {
    if (this.#failure) throw this.#failure;
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = new SpdyStream({
      send: (data, end, done) => {
        if (this.#failure) done(stream.remoteEnded ? undefined : this.#failure);
        else this.#socket.write(dataFrame(id, data, end), done);
      },
      resumed: () => {
        this.#slow.delete(stream);
        if (this.#slow.size === 0) this.#socket.resume();
      },
      ended: () => {
        this.#streams.delete(id);
        this.#slow.delete(stream);
        if (this.#slow.size === 0) this.#socket.resume();
      },
    });
    this.#streams.set(id, stream);
    this.#socket.write(synStreamFrame(id, headers));
    return stream;
  }

  /** Ends the connection; streams still open end with an error of kind `canceled`. */
  close(): void {
    this.#fail(new TrineError("canceled", "streaming connection: closed"));
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const frame of this.#reader.push(chunk)) this.#take(frame);
    } catch (cause) {
      this.#fail(TrineError.during("streaming connection", cause));
    }
  }

  #take(frame: Frame): void {
    switch (frame.type) {
      case "data": {
        const stream = this.#streams.get(frame.streamId);
        if (stream === undefined) return;
        if (!stream.receive(frame.data, frame.end)) {
          this.#slow.add(stream);
          this.#socket.pause();
        }
        return;
      }
      case "reset": {
        // The servers end every stream of a finished command in this way, the bytes before it count.
        const stream = this.#streams.get(frame.streamId);
        if (frame.status === STATUS_CANCEL) stream?.receive(new Uint8Array(), true);
        else
          stream?.destroy(new TrineError("unavailable", `stream: reset, status ${frame.status}`));
        return;
      }
      case "ping":
        this.#socket.write(pongFrame(frame.id));
        return;
      case "replied":
        if (frame.end) this.#streams.get(frame.streamId)?.receive(new Uint8Array(), true);
        return;
      case "opened":
        this.#socket.write(resetFrame(frame.streamId));
        return;
      case "other":
        return;
    }
  }

  #fail(reason: TrineError): void {
    if (this.#failure) return;
    this.#failure = reason;
    this.#socket.destroy();
    for (const stream of [...this.#streams.values()]) {
      // What a stream got before its end stays readable.
      if (!stream.remoteEnded) stream.destroy(reason);
    }
    this.#streams.clear();
  }
}
