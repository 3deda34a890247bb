import { TrineError } from "@trine/base";

const MAX_QUEUED = 1024;

/** Hands events to listeners at once and to iterators in order; an iterator that falls behind ends in an error. */
export class EventFeed<T> {
  readonly #listeners = new Set<(event: T) => void>();
  readonly #ends = new Set<() => void>();
  #ended = false;

  /** Answers how to stop listening. */
  listen(listener: (event: T) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(event: T): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  end(): void {
    this.#ended = true;
    for (const end of [...this.#ends]) end();
  }

  /** Events from this call on; ends when `signal` aborts or the feed ends. Kind `exhausted` when 1024 are unread. */
  iterate(signal: AbortSignal): AsyncIterable<T> {
    const queue: T[] = [];
    let isOver = this.#ended || signal.aborted;
    let wake = Promise.withResolvers<undefined>();
    const turn = (): void => {
      wake.resolve(undefined);
      wake = Promise.withResolvers();
    };
    const end = (): void => {
      isOver = true;
      stop();
      this.#ends.delete(end);
      signal.removeEventListener("abort", end);
      turn();
    };
    const stop = this.listen((event) => {
      queue.push(event);
      if (queue.length > MAX_QUEUED) end();
      else turn();
    });
    if (isOver) stop();
    else {
      this.#ends.add(end);
      signal.addEventListener("abort", end);
    }
    return drain(queue, { isOver: () => isOver, changed: () => wake.promise, end });
  }
}

async function* drain<T>(
  queue: T[],
  feed: { isOver: () => boolean; changed: () => Promise<undefined>; end: () => void },
): AsyncGenerator<T> {
  try {
    for (;;) {
      if (queue.length > MAX_QUEUED) {
        throw new TrineError("exhausted", `more than ${MAX_QUEUED} events unread: read state anew`);
      }
      const event = queue.shift();
      if (event !== undefined) yield event;
      else if (feed.isOver()) return;
      else await feed.changed();
    }
  } finally {
    feed.end();
  }
}
