import { TrineError, kindOf, sleep } from "@trine/base";
import { type Backoff, backoffMs } from "./backoff.ts";
import type { Cache, CacheScope, ChangeListener, Indices } from "./cache.ts";
import type { ListWatch, WatchEvent } from "./kube-api.ts";
import { type KubeObject, type Stored, keyOf } from "./object.ts";
import { ObjectStore } from "./object-store.ts";
import type { Resource } from "./resource.ts";

interface CacheOptions<T extends KubeObject> extends CacheScope<T> {
  readonly indices?: Indices<T>;
  /** Of each list or watch that failed, and when it is tried again. */
  readonly onProblem: (cause: unknown, retryMs: number) => void;
  readonly backoff?: Backoff;
}

const BACKOFF: Backoff = { baseMs: 500, capMs: 30_000 };
/** A server that ends each watch at once is not asked in a loop. */
const MIN_WATCH_MS = 1_000;

/**
 * A cache that lists once and then watches. A watch that broke goes on from the last version that was seen; where that
 * is too old all is listed again, and what has gone in between is told as gone.
 */
export class ListWatchCache<T extends KubeObject> implements Cache<T> {
  readonly whole: Promise<void>;
  readonly #api: ListWatch;
  readonly #resource: Resource<T>;
  readonly #options: CacheOptions<T>;
  readonly #store: ObjectStore<T>;
  readonly #whole = Promise.withResolvers<undefined>();
  #version: string | undefined;
  #failures = 0;

  constructor(api: ListWatch, resource: Resource<T>, options: CacheOptions<T>) {
    this.#api = api;
    this.#resource = resource;
    this.#options = options;
    this.#store = new ObjectStore(options.indices ?? {}, options.keep);
    this.whole = this.#whole.promise;
    // Whoever waits for it is told; that nobody waits is no failure.
    this.whole.catch(() => undefined);
  }

  get(key: string): Stored<T> | undefined {
    return this.#store.get(key);
  }

  list(namespace?: string): readonly Stored<T>[] {
    return this.#store.list(namespace);
  }

  byIndex(name: string, value: string): readonly Stored<T>[] {
    return this.#store.byIndex(name, value);
  }

  onChange(listener: ChangeListener<T>): () => void {
    return this.#store.onChange(listener);
  }

  /** Failures in a row: 0 while the watch is fine. */
  get failures(): number {
    return this.#failures;
  }

  /** Follows the resource until `signal` aborts; rejects only where a listener threw. */
  async run(signal: AbortSignal): Promise<void> {
    const { plural } = this.#resource;
    try {
      while (!signal.aborted) await this.#round(signal);
    } finally {
      this.#whole.reject(new TrineError("canceled", `cache of ${plural}: ended before its list`));
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const began = performance.now();
    try {
      this.#version ??= await this.#relist(signal);
      await this.#follow(this.#version, signal);
      await sleep(Math.max(0, MIN_WATCH_MS - (performance.now() - began)), signal);
    } catch (cause) {
      if (cause instanceof ListenerFailed) throw cause.cause;
      if (signal.aborted) return;
      await this.#failed(cause, signal);
    }
  }

  async #failed(cause: unknown, signal: AbortSignal): Promise<void> {
    const isOld = kindOf(cause) === "expired";
    if (isOld) this.#version = undefined;
    this.#failures += 1;
    // The first list again after an old version is no sign of trouble.
    const retryMs =
      isOld && this.#failures === 1
        ? 0
        : backoffMs(this.#options.backoff ?? BACKOFF, this.#failures);
    this.#options.onProblem(cause, retryMs);
    await sleep(retryMs, signal).catch(() => undefined);
  }

  async #relist(signal: AbortSignal): Promise<string> {
    const { items, resourceVersion } = await this.#api.list(this.#resource, this.#options, signal);
    const gone = new Set(this.#store.keys());
    for (const item of items) {
      gone.delete(keyOf(item));
      this.#change(() => {
        this.#store.put(item);
      });
    }
    for (const key of gone) {
      this.#change(() => {
        this.#store.remove(key);
      });
    }
    this.#whole.resolve(undefined);
    return resourceVersion;
  }

  async #follow(version: string, signal: AbortSignal): Promise<void> {
    const within = { ...this.#options, resourceVersion: version };
    for await (const event of this.#api.watch(this.#resource, within, signal)) {
      this.#failures = 0;
      this.#take(event);
    }
    this.#failures = 0;
  }

  #take(event: WatchEvent<T>): void {
    if (event.type === "BOOKMARK") {
      this.#version = event.resourceVersion;
      return;
    }
    const { object } = event;
    this.#change(() => {
      if (event.type === "DELETED") this.#store.remove(keyOf(object));
      else this.#store.put(object);
    });
    this.#version = object.metadata.resourceVersion;
  }

  /** What a listener throws is no failure of the server: it must not be tried again. */
  #change(change: () => void): void {
    try {
      change();
    } catch (cause) {
      throw new ListenerFailed("a listener failed", { cause });
    }
  }
}

class ListenerFailed extends Error {}
