const FIRST_MS = 10_000;
const LONGEST_MS = 10 * 60_000;

/** What went wrong with templates of late; one that fails again and again is tried ever more seldom. */
export class Misgivings {
  readonly #by = new Map<string, { why: string; untilMs: number; waitMs: number }>();

  add(key: string, why: string): void {
    const before = this.#by.get(key);
    const waitMs = Math.min(before === undefined ? FIRST_MS : 2 * before.waitMs, LONGEST_MS);
    this.#by.set(key, { why, waitMs, untilMs: performance.now() + waitMs });
  }

  /** Undefined when there is nothing against it, or that was long enough ago. */
  of(key: string): string | undefined {
    const found = this.#by.get(key);
    return found !== undefined && performance.now() < found.untilMs ? found.why : undefined;
  }

  clear(key: string): void {
    this.#by.delete(key);
  }
}
