import { type Stored, type WorkQueue, keyOf } from "@trine/kube-client";
import { MACHINE_FINALIZER } from "@trine/kube-types";
import { BY_VOLUME } from "../caches.ts";
import type { ControlDeps, Controller } from "../controller.ts";
import { MACHINES } from "../kinds.ts";
import { controllerOf } from "../owner.ts";
import { newest, queueController } from "../queue-controller.ts";
import { MachineReconciler } from "./reconcile-vm.ts";

/** Keeps VirtualMachines as their specs say. */
export function machineController(deps: ControlDeps): Controller {
  const reconciler = new MachineReconciler(deps);
  const { machines, instances, dataVolumes, claims, revisions } = deps.caches;
  return queueController({
    name: "virtualmachine",
    workers: 8,
    caches: [machines, instances, dataVolumes, claims, revisions],
    watch: (queue) => watchAll(deps, queue),
    reconcile: (key, signal) => reconciler.reconcile(key, signal),
    onFailure: deps.onFailure,
  });
}

/** Whose machines a change concerns. */
function watchAll({ caches }: ControlDeps, queue: WorkQueue): readonly (() => void)[] {
  const { machines, instances, dataVolumes, claims, revisions } = caches;
  const addOwner = (object: Stored): void => {
    const owner = controllerOf(object);
    const { namespace = "default" } = object.metadata;
    if (owner?.kind === MACHINES.kind) queue.add(`${namespace}/${owner.name}`);
  };
  const addUsers = (object: Stored): void => {
    for (const vm of machines.byIndex(BY_VOLUME, keyOf(object))) queue.add(keyOf(vm));
  };
  const addNamesake = (vmi: Stored): void => {
    addOwner(vmi);
    // One that is held and has lost its owner, or that has the name of a machine that wants to start.
    const isHeld = vmi.metadata.finalizers?.includes(MACHINE_FINALIZER) ?? false;
    if (isHeld || machines.get(keyOf(vmi)) !== undefined) queue.add(keyOf(vmi));
  };
  return [
    machines.onChange(
      newest((vm) => {
        queue.add(keyOf(vm));
      }),
    ),
    instances.onChange(newest(addNamesake)),
    dataVolumes.onChange(newest(addUsers)),
    claims.onChange(newest(addUsers)),
    revisions.onChange(newest(addOwner)),
  ];
}
