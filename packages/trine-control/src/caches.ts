import {
  type Cache,
  type CacheScope,
  type Indices,
  type KubeObject,
  ListWatchCache,
  type Resource,
} from "@trine/kube-client";
import type { ControlProcess } from "./process.ts";

/** Makes caches that run when all of them are made. */
export class CacheSet {
  readonly #of: Pick<ControlProcess, "client" | "metrics" | "logger">;
  readonly #caches: { run(signal: AbortSignal): Promise<void> }[] = [];

  constructor(of: Pick<ControlProcess, "client" | "metrics" | "logger">) {
    this.#of = of;
  }

  readonly make = <T extends KubeObject>(
    resource: Resource<T>,
    indices: Indices<T> = {},
    within: CacheScope<T> = {},
  ): Cache<T> => {
    const { client, metrics, logger } = this.#of;
    const cache = new ListWatchCache(client, resource, {
      ...within,
      indices,
      onProblem: (err, retryMs) => {
        metrics.watchFailed(resource.plural);
        logger.warn({ err, resource: resource.plural, retryMs }, "watch failed");
      },
    });
    this.#caches.push(cache);
    return cache;
  };

  /** Until `signal` aborts; rejects where a listener of one failed. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#caches.map((cache) => cache.run(signal)));
  }
}
