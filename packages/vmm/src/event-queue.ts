/**
 * Events for one reader, from its making until `signal` aborts or `end` is called. A reader that stays
 * away loses the oldest beyond `limit`: a guest can make events faster than anybody reads them.
 */
export class EventQueue<T> implements AsyncIterable<T> {
  readonly #events: T[] = [];
  readonly #limit: number;
  readonly #onEnd: () => void;
  #ended = false;
  #wake: () => void = () => undefined;

  constructor(options: { signal: AbortSignal; limit?: number; onEnd?: () => void }) {
    this.#limit = options.limit ?? 256;
    this.#onEnd = options.onEnd ?? ((): void => undefined);
    const abort = (): void => {
      this.end();
    };
    if (options.signal.aborted) this.#ended = true;
    else options.signal.addEventListener("abort", abort, { once: true });
  }

  push(event: T): void {
    if (this.#ended) return;
    this.#events.push(event);
    if (this.#events.length > this.#limit) this.#events.shift();
    this.#wake();
  }

  /** What was pushed before is still read. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    try {
      for (;;) {
        const event = this.#events.shift();
        if (event !== undefined) yield event;
        else if (this.#ended) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.end();
    }
  }
}
