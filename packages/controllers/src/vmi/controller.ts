import { type Stored, type WorkQueue, keyOf } from "@trine/kube-client";
import type { Controller } from "../controller.ts";
import { INSTANCES } from "../kinds.ts";
import { controllerOf } from "../owner.ts";
import { newest, queueController } from "../queue-controller.ts";
import { NODE_INDEX } from "./machines.ts";
import { type InstanceDeps, InstanceReconciler } from "./reconcile-vmi.ts";
import { phaseOf } from "./seen.ts";

/** Deps of the controller, with how it hears that a node says something else of a pod (`NAMESPACE/NAME`). */
export interface InstanceControllerDeps extends InstanceDeps {
  /** Calls the listener from now on; answers how to end it. */
  readonly onMachine: (listener: (pod: string) => void) => () => void;
}

/** Keeps VirtualMachineInstances as their pods and nodes are, and makes the pods. */
export function instanceController(deps: InstanceControllerDeps): Controller {
  const reconciler = new InstanceReconciler(deps);
  const { instances, pods, nodes, kubeVirts, claims, dataVolumes } = deps.caches;
  return queueController({
    name: "virtualmachineinstance",
    workers: 8,
    caches: [instances, pods, nodes, kubeVirts, claims, dataVolumes],
    watch: (queue) => watchAll(deps, queue),
    reconcile: (key, signal) => reconciler.reconcile(key, signal),
    onFailure: deps.onFailure,
  });
}

/** Whose instances a change concerns. */
function watchAll(
  { caches, onMachine }: InstanceControllerDeps,
  queue: WorkQueue,
): readonly (() => void)[] {
  const { instances, pods, nodes, claims, dataVolumes } = caches;
  const add = (object: Stored): void => {
    queue.add(keyOf(object));
  };
  const addOwner = (pod: Stored): void => {
    const owner = controllerOf(pod);
    if (owner?.kind === INSTANCES.kind) queue.add(`${pod.metadata.namespace ?? ""}/${owner.name}`);
  };
  const addWaiting = ({ metadata }: Stored): void => {
    for (const vmi of instances.list(metadata.namespace)) {
      if (phaseOf(vmi) === "Pending") queue.add(keyOf(vmi));
    }
  };
  const addOnNode = ({ metadata }: Stored): void => {
    for (const pod of pods.byIndex(NODE_INDEX, metadata.name)) addOwner(pod);
  };
  return [
    instances.onChange(newest(add)),
    pods.onChange(newest(addOwner)),
    nodes.onChange((before, after) => {
      // A node's status changes every few seconds, and only its taints matter here.
      const isSame = JSON.stringify(before?.spec?.taints) === JSON.stringify(after?.spec?.taints);
      if (!isSame) newest(addOnNode)(before, after);
    }),
    claims.onChange(newest(addWaiting)),
    dataVolumes.onChange(newest(addWaiting)),
    onMachine((key) => {
      const pod = pods.get(key);
      if (pod !== undefined) addOwner(pod);
    }),
  ];
}
