import { randomInt } from "node:crypto";

const MAX_BASE = 2 ** 47;

/**
 * Whether the agent is known to read and answer. Its answers come in the order of the requests: once it
 * answers a sync, everything asked before that sync has been answered or never will be.
 */
export class SyncState {
  /** Numbers of syncs start anywhere, so that an earlier daemon's are not taken for ours. */
  readonly #base = randomInt(MAX_BASE);
  #sent = 0;
  /** Only answers to syncs from this one on count. */
  #floor = 0;
  #isSynced = false;
  #answered = Promise.withResolvers<undefined>();

  get isSynced(): boolean {
    return this.#isSynced;
  }

  /** Resolves at the next answer that counts; rejects when the agent turns out not to be usable. */
  get answered(): Promise<undefined> {
    return this.#answered.promise;
  }

  /** The number of a new sync. */
  next(): number {
    this.#sent += 1;
    return this.#base + this.#sent - 1;
  }

  /** The agent left something unanswered: only a sync sent from now on can tell whether it lives. */
  doubt(): void {
    this.#isSynced = false;
    this.#floor = this.#sent;
  }

  /** Whether a sync of ours had that number. */
  isOurs(number: unknown): number is number {
    return Number.isInteger(number) && this.#indexOf(number as number) !== undefined;
  }

  take(number: number): void {
    const index = this.#indexOf(number);
    if (index === undefined || index < this.#floor) return;
    this.#isSynced = true;
    this.#answered.resolve(undefined);
    this.#answered = Promise.withResolvers();
  }

  #indexOf(number: number): number | undefined {
    const index = number - this.#base;
    return index >= 0 && index < this.#sent ? index : undefined;
  }

  refuse(cause: Error): void {
    this.#answered.promise.catch(() => undefined); // there may be nobody waiting
    this.#answered.reject(cause);
    this.#answered = Promise.withResolvers();
  }
}
