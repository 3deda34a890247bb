import { messageOf, sleep } from "@trine/base";
import type { Logger } from "pino";

/** A volume is grown under a pod that runs, and nobody says so to its runtime. */
const LOOK_EVERY_MS = 5_000;

interface Watched<T> {
  /** What there is to look at; nothing ends the watch. */
  readonly what: () => readonly T[];
  readonly name: (one: T) => string;
  /** Looks at one, and tells its guest where it has grown. */
  readonly look: (one: T) => Promise<void>;
  readonly log: Pick<Logger, "warn">;
}

/** Looks at the sizes of a guest's volumes again and again, for as long as it has any that may grow. */
export class SizeWatch<T> {
  readonly #watched: Watched<T>;
  #watching: AbortController | undefined;

  constructor(watched: Watched<T>) {
    this.#watched = watched;
  }

  /** From now on. Repeatable. */
  watch(): void {
    if (this.#watching !== undefined || this.#watched.what().length === 0) return;
    const watching = new AbortController();
    this.#watching = watching;
    void this.#watch(watching.signal).finally(() => {
      if (this.#watching === watching) this.#watching = undefined;
    });
  }

  stop(): void {
    this.#watching?.abort();
    this.#watching = undefined;
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { what, name, look, log } = this.#watched;
    let said = "";
    while (!signal.aborted && what().length > 0) {
      for (const one of what()) {
        try {
          await look(one);
        } catch (cause) {
          const why = messageOf(cause);
          if (why !== said) log.warn({ volume: name(one), err: why }, "a volume's size");
          said = why;
        }
      }
      await sleep(LOOK_EVERY_MS, signal).catch(() => undefined); // the end of the watch
    }
  }
}
