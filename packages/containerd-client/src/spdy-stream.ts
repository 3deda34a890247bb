import { Duplex } from "node:stream";

interface Link {
  send: (data: Uint8Array, end: boolean, done: (error?: Error | null) => void) => void;
  resumed: () => void;
  ended: () => void;
}

/** One stream of a SPDY connection; `end()` closes our direction only. */
export class SpdyStream extends Duplex {
  readonly #link: Link;
  #remoteEnded = false;

  constructor(link: Link) {
    super({ allowHalfOpen: true });
    this.#link = link;
  }

  /** The peer has sent its last byte. */
  get remoteEnded(): boolean {
    return this.#remoteEnded;
  }

  /** Takes what the peer sent; false when the reader is behind and the connection should pause. */
  receive(data: Uint8Array, end: boolean): boolean {
    if (this.#remoteEnded) return true;
    const keepOn = data.length === 0 || this.push(data);
    if (end) {
      this.#remoteEnded = true;
      this.push(null);
    }
    return keepOn || end;
  }

  override _read(): void {
    this.#link.resumed();
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#link.send(chunk, false, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#link.send(new Uint8Array(), true, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#link.ended();
    done(error);
  }
}
