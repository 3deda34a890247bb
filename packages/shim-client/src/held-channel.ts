import { TrineError } from "@trine/base";
import type { ByteChannel } from "@trine/vmm";
import type { ShimLink } from "./shim-link.ts";

const WAIT_MS = 30_000;
/** Answers this daemon has read but may die before it has acted on. */
const KEEP_BYTES = 64 * 1024;
const CHUNK_BYTES = 64 * 1024;

/**
 * A channel the shim holds for the daemon. A new daemon starts at 0 and is given what the shim still has:
 * all that was never read, and the newest of what its predecessor read.
 */
export class HeldChannel implements ByteChannel {
  readonly #shim: ShimLink;
  readonly #name: string;
  #readAt = 0n;
  #writeAt: bigint | undefined;
  #writes: Promise<unknown> = Promise.resolve();

  constructor(shim: ShimLink, name: string) {
    this.#shim = shim;
    this.#name = name;
  }

  async read(signal: AbortSignal): Promise<Uint8Array | undefined> {
    for (;;) {
      const answer = await this.#shim.readChannel(this.#name, this.#readAt, {
        waitMs: WAIT_MS,
        keepBytes: KEEP_BYTES,
        signal,
      });
      if (answer.data.length > 0) {
        this.#readAt = answer.offset + BigInt(answer.data.length);
        return answer.data;
      }
      if (answer.closed) return undefined;
    }
  }

  write(bytes: Uint8Array): Promise<void> {
    const done = this.#writes.then(() => this.#append(bytes));
    this.#writes = done.catch(() => undefined);
    return done;
  }

  async #append(bytes: Uint8Array): Promise<void> {
    // An empty write asks where the stream stands: after a restart we do not know.
    this.#writeAt ??= await this.#shim.writeChannel(this.#name, 0n, new Uint8Array());
    for (let sent = 0; sent < bytes.length;) {
      const chunk = bytes.subarray(sent, sent + CHUNK_BYTES);
      const next = await this.#writeOne(this.#writeAt, chunk);
      const taken = Number(next - this.#writeAt);
      if (taken < 0 || taken > chunk.length) {
        throw new TrineError("conflict", `channel ${this.#name}: another writer is at ${next}`);
      }
      sent += taken;
      this.#writeAt = next;
    }
  }

  async #writeOne(offset: bigint, chunk: Uint8Array): Promise<bigint> {
    try {
      return await this.#shim.writeChannel(this.#name, offset, chunk);
    } catch (cause) {
      this.#writeAt = undefined; // it may have been taken all the same
      throw cause;
    }
  }
}
