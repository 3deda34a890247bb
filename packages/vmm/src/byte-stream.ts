import type { ByteChannel } from "./process-host.ts";

/** One direction of a byte stream kept in memory; the reader waits for what is not there yet. */
export class ByteStream {
  readonly #chunks: Uint8Array[] = [];
  #closed = false;
  #waiting: (() => void)[] = [];
  /** Bytes ever written. */
  written = 0;

  write(bytes: Uint8Array): void {
    if (this.#closed || bytes.length === 0) return;
    this.#chunks.push(bytes.slice());
    this.written += bytes.length;
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  /** All that has not been read yet; undefined at the end. */
  async read(signal: AbortSignal): Promise<Uint8Array | undefined> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#chunks.length > 0) return Buffer.concat(this.#chunks.splice(0));
      if (this.#closed) return undefined;
      await this.#change(signal);
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const go = (): void => {
        signal.removeEventListener("abort", go);
        resolve();
      };
      signal.addEventListener("abort", go, { once: true });
      this.#waiting.push(go);
    });
  }

  #wake(): void {
    for (const go of this.#waiting.splice(0)) go();
  }
}

/** Both directions of a channel, seen from one end. */
export class StreamEnd implements ByteChannel {
  readonly #incoming: ByteStream;
  readonly #outgoing: ByteStream;

  constructor(incoming: ByteStream, outgoing: ByteStream) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  read(signal: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#incoming.read(signal);
  }

  write(bytes: Uint8Array): Promise<void> {
    this.#outgoing.write(bytes);
    return Promise.resolve();
  }

  close(): void {
    this.#incoming.close();
    this.#outgoing.close();
  }
}
