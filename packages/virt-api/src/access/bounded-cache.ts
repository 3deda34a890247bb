/** Answers for a while, and no more than so many: the oldest goes first. Work in flight is shared. */
export class BoundedCache<T> {
  readonly #entries = new Map<string, { value: Promise<T>; until: number }>();
  readonly #most: number;
  readonly #now: () => number;

  constructor(most: number, now: () => number = () => performance.now()) {
    this.#most = most;
    this.#now = now;
  }

  /** `msFor` says how long an answer is kept; a failure is never kept. */
  get(key: string, msFor: (value: T) => number, make: () => Promise<T>): Promise<T> {
    const found = this.#entries.get(key);
    if (found !== undefined && found.until > this.#now()) return found.value;
    const entry = { value: make(), until: Infinity };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    this.#trim();
    entry.value.then(
      (value) => {
        entry.until = this.#now() + msFor(value);
      },
      () => {
        if (this.#entries.get(key) === entry) this.#entries.delete(key);
      },
    );
    return entry.value;
  }

  get size(): number {
    return this.#entries.size;
  }

  #trim(): void {
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= this.#most) return;
      this.#entries.delete(key);
    }
  }
}
