import { type Cache, type Reconcile, WorkQueue } from "@trine/kube-client";
import type { ControlDeps, Controller } from "./controller.ts";

interface QueueController {
  readonly name: string;
  /** Objects that are worked on at once: a step waits for the API server most of its time. */
  readonly workers: number;
  /** All that the reconciler reads: nothing is done before they are whole. */
  readonly caches: readonly Pick<Cache, "whole">[];
  /** Adds the keys that a change concerns, from now on; answers how to end that. */
  readonly watch: (queue: WorkQueue) => readonly (() => void)[];
  readonly reconcile: Reconcile;
  readonly onFailure: ControlDeps["onFailure"];
}

/** The loop that all controllers are: changes add keys to a queue, and workers reconcile them one by one. */
export function queueController(of: QueueController): Controller {
  const { name, workers, caches, watch, reconcile } = of;
  return {
    name,
    run: async (signal) => {
      await Promise.all(caches.map(({ whole }) => whole));
      const queue = new WorkQueue({
        onFailure: (key, cause, retryMs) => {
          of.onFailure(name, key, cause, retryMs);
        },
      });
      const stops = watch(queue);
      try {
        await queue.run(workers, reconcile, signal);
      } finally {
        for (const stop of stops) stop();
      }
    },
  };
}

/** Listens to a cache: tells of each object as it is, or as it was last. */
export function newest<T>(
  tell: (object: T) => void,
): (before: T | undefined, after: T | undefined) => void {
  return (before, after) => {
    const object = after ?? before;
    if (object !== undefined) tell(object);
  };
}
