/** Longer and longer with each failure in a row. */
const WAIT_MS = { first: 100, longest: 60_000 };

interface Told {
  /** What it failed on, as it is with the telling in it. */
  readonly state: string;
  readonly failures: number;
  readonly untilMs: number;
}

/**
 * Failures that were written into their object's status. Such a write is a change of the object too, and its key comes again
 * for it at once; where each try fails in other words (a time, a port, a request's number) that would never end. So as long as
 * nothing but the telling has changed the next try waits.
 */
export class ToldFailures {
  readonly #told = new Map<string, Told>();

  told(key: string, state: string, now: Date): void {
    const failures = (this.#told.get(key)?.failures ?? 0) + 1;
    const { first, longest } = WAIT_MS;
    const waitMs = Math.min(first * 2 ** Math.min(failures - 1, 30), longest);
    this.#told.set(key, { state, failures, untilMs: now.getTime() + waitMs });
  }

  /** Until the next try; zero: now. */
  leftMs(key: string, state: string, now: Date): number {
    const told = this.#told.get(key);
    if (told?.state !== state) return 0;
    // A clock that was set back makes no wait longer.
    return Math.min(Math.max(told.untilMs - now.getTime(), 0), WAIT_MS.longest);
  }

  /** It has gone well, or its object is gone. */
  forget(key: string): void {
    this.#told.delete(key);
  }
}
