import { type Stored, type WorkQueue, keyOf } from "@trine/kube-client";
import type { ControlDeps, Controller } from "../controller.ts";
import { REPLICA_SETS } from "../kinds.ts";
import { controllerOf } from "../owner.ts";
import { newest, queueController } from "../queue-controller.ts";
import { reconcileSet } from "./reconcile-set.ts";
import { selects } from "./selector.ts";

/** Keeps as many instances as VirtualMachineInstanceReplicaSets are to have. */
export function replicaSetController(deps: ControlDeps): Controller {
  const { replicaSets, instances } = deps.caches;
  return queueController({
    name: "virtualmachineinstancereplicaset",
    workers: 4,
    caches: [replicaSets, instances],
    watch: (queue) => watchAll(deps, queue),
    reconcile: (key, signal) => reconcileSet(deps, key, signal),
    onFailure: deps.onFailure,
  });
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
    replicaSets.onChange(
      newest((set) => {
        queue.add(keyOf(set));
      }),
    ),
    instances.onChange((before, after) => {
      // Before too: it may have been another's then.
      add(before);
      add(after);
    }),
  ];
}
