import { type Backoff, backoffMs } from "./backoff.ts";

/** What a reconciler says when it is done: nothing more, or again after a while. */
export type Outcome = "settled" | { readonly afterMs: number };

/** Moves the object of a key one step; what it throws is tried again later. */
export type Reconcile = (key: string, signal: AbortSignal) => Promise<Outcome>;

interface QueueOptions {
  /** Hears of each failure, and when its key comes again. */
  readonly onFailure: (key: string, cause: unknown, retryMs: number) => void;
  readonly backoff?: Backoff;
}

interface Later {
  readonly atMs: number;
  readonly timer: NodeJS.Timeout;
}

const BACKOFF: Backoff = { baseMs: 100, capMs: 120_000 };
/** setTimeout takes no more. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/**
 * Keys that wait for a reconciler. A key waits at most once, is worked on by one worker at a time, and one that was added
 * while it was worked on comes again. A key that failed comes again after a wait that grows with its failures.
 */
export class WorkQueue {
  readonly #options: QueueOptions;
  readonly #waiting = new Set<string>();
  readonly #atWork = new Set<string>();
  /** Added while at work. */
  readonly #again = new Set<string>();
  readonly #later = new Map<string, Later>();
  readonly #failures = new Map<string, number>();
  readonly #idle: (() => void)[] = [];
  #isOver = false;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /** Keys that wait, are at work, or come later. */
  get size(): { readonly waiting: number; readonly atWork: number; readonly later: number } {
    const { size: waiting } = this.#waiting;
    return { waiting, atWork: this.#atWork.size, later: this.#later.size };
  }

  add(key: string): void {
    if (this.#isOver) return;
    if (this.#atWork.has(key)) {
      this.#again.add(key);
      return;
    }
    this.#waiting.add(key);
    this.#idle.shift()?.();
  }

  /** Adds the key after a while; of several such calls the earliest counts. */
  addAfter(key: string, ms: number): void {
    if (this.#isOver) return;
    const wait = Math.min(Math.max(0, ms), MAX_DELAY_MS);
    const atMs = performance.now() + wait;
    const other = this.#later.get(key);
    if (other !== undefined && other.atMs <= atMs) return;
    clearTimeout(other?.timer);
    const timer = setTimeout(() => {
      this.#later.delete(key);
      this.add(key);
    }, wait);
    this.#later.set(key, { atMs, timer });
  }

  /** Its failures are forgotten, and what was to come later does not: its object is gone. */
  forget(key: string): void {
    this.#failures.delete(key);
    clearTimeout(this.#later.get(key)?.timer);
    this.#later.delete(key);
  }

  /**
   * Works until `signal` aborts, then waits for what is at work and resolves. A reconciler gets the same signal. A queue
   * runs once.
   */
  async run(workers: number, reconcile: Reconcile, signal: AbortSignal): Promise<void> {
    const onAbort = (): void => {
      this.#end();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) this.#end();
    const work = Array.from({ length: workers }, () => this.#work(reconcile, signal));
    await Promise.all(work);
    signal.removeEventListener("abort", onAbort);
  }

  #end(): void {
    this.#isOver = true;
    this.#waiting.clear();
    this.#again.clear();
    for (const { timer } of this.#later.values()) clearTimeout(timer);
    this.#later.clear();
    for (const wake of this.#idle.splice(0)) wake();
  }

  async #work(reconcile: Reconcile, signal: AbortSignal): Promise<void> {
    while (!this.#isOver) {
      const key = this.#take();
      if (key !== undefined) await this.#reconcile(key, reconcile, signal);
      else await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  #take(): string | undefined {
    const key = this.#waiting.values().next().value;
    if (key !== undefined) this.#waiting.delete(key);
    return key;
  }

  async #reconcile(key: string, reconcile: Reconcile, signal: AbortSignal): Promise<void> {
    this.#atWork.add(key);
    try {
      const outcome = await reconcile(key, signal);
      this.#failures.delete(key);
      if (outcome !== "settled") this.addAfter(key, outcome.afterMs);
    } catch (cause) {
      if (!signal.aborted) this.#failed(key, cause);
    } finally {
      this.#atWork.delete(key);
      if (this.#again.delete(key)) this.add(key);
    }
  }

  #failed(key: string, cause: unknown): void {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const retryMs = backoffMs(this.#options.backoff ?? BACKOFF, failures);
    this.addAfter(key, retryMs);
    this.#options.onFailure(key, cause, retryMs);
  }
}
