interface Bucket {
  left: number;
  atMs: number;
}

/** For each name a few at once, then one each `refillMs`. Of too many names the one used longest ago is forgotten. */
export class TokenBuckets {
  readonly #of: { readonly burst: number; readonly refillMs: number; readonly max: number };
  readonly #buckets = new Map<string, Bucket>();

  constructor(of: { readonly burst: number; readonly refillMs: number; readonly max: number }) {
    this.#of = of;
  }

  take(name: string, nowMs = performance.now()): boolean {
    const { burst, refillMs, max } = this.#of;
    const old = this.#buckets.get(name) ?? { left: burst, atMs: nowMs };
    const left = Math.min(burst, old.left + (nowMs - old.atMs) / refillMs);
    const isGiven = left >= 1;
    this.#buckets.delete(name);
    this.#buckets.set(name, { left: isGiven ? left - 1 : left, atMs: nowMs });
    const oldest = this.#buckets.keys().next().value;
    if (this.#buckets.size > max && oldest !== undefined) this.#buckets.delete(oldest);
    return isGiven;
  }
}
