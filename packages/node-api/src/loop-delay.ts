const TICK_MS = 50;

/**
 * How late the event loop runs its timers: the worst of this window and the one before. Node's own
 * histogram misses a block that begins right after its reset, so it cannot be read by window.
 */
export class LoopDelay {
  readonly #timer: NodeJS.Timeout;
  readonly #windowMs: number;
  #tickedMs = performance.now();
  #windowEndsMs: number;
  #worstMs = 0;
  #worstBeforeMs = 0;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
    this.#windowEndsMs = this.#tickedMs + windowMs;
    this.#timer = setInterval(() => {
      this.#tick();
    }, TICK_MS).unref();
  }

  get worstMs(): number {
    return Math.max(this.#worstMs, this.#worstBeforeMs);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const nowMs = performance.now();
    if (nowMs > this.#windowEndsMs) {
      this.#worstBeforeMs = this.#worstMs;
      this.#worstMs = 0;
      this.#windowEndsMs = nowMs + this.#windowMs;
    }
    this.#worstMs = Math.max(this.#worstMs, nowMs - this.#tickedMs - TICK_MS);
    this.#tickedMs = nowMs;
  }
}
