import { type Stored, WorkQueue, keyOf } from "@trine/kube-client";
import type { ControlDeps, Controller } from "../controller.ts";
import { REPLICA_SETS } from "../kinds.ts";
import { controllerOf } from "../owner.ts";
import { reconcileSet } from "./reconcile-set.ts";
import { selects } from "./selector.ts";

const WORKERS = 4;

/** Keeps as many instances as VirtualMachineInstanceReplicaSets are to have. */
export function replicaSetController(deps: ControlDeps): Controller {
  const name = "virtualmachineinstancereplicaset";
  return {
    name,
    run: async (signal) => {
      const { replicaSets, instances } = deps.caches;
      await Promise.all([replicaSets.whole, instances.whole]);
      const queue = new WorkQueue({
        onFailure: (key, cause, retryMs) => {
          deps.onFailure(name, key, cause, retryMs);
        },
      });
      const stops = watchAll(deps, queue);
      try {
        await queue.run(WORKERS, (key, abort) => reconcileSet(deps, key, abort), signal);
      } finally {
        for (const stop of stops) stop();
      }
    },
  };
}

/** Whose sets a change concerns: its owner's, or those that would take it. */
function watchAll({ caches }: ControlDeps, queue: WorkQueue): readonly (() => void)[] {
  const { replicaSets, instances } = caches;
  const add = (vmi: Stored | undefined): void => {
    if (vmi === undefined) return;
    const { namespace = "default", labels } = vmi.metadata;
    const owner = controllerOf(vmi);
    if (owner?.kind === REPLICA_SETS.kind) queue.add(`${namespace}/${owner.name}`);
    if (owner !== undefined) return;
    for (const set of replicaSets.list(namespace)) {
      if (selects(set.spec.selector, labels)) queue.add(keyOf(set));
    }
  };
  return [
    replicaSets.onChange((before, after) => {
      const set = after ?? before;
      if (set !== undefined) queue.add(keyOf(set));
    }),
    instances.onChange((before, after) => {
      // Before too: it may have been another's then.
      add(before);
      add(after);
    }),
  ];
}
