import { type Stored, WorkQueue, keyOf } from "@trine/kube-client";
import { BY_VOLUME } from "../caches.ts";
import type { ControlDeps, Controller } from "../controller.ts";
import { MACHINES } from "../kinds.ts";
import { controllerOf } from "../owner.ts";
import { MachineReconciler } from "./reconcile-vm.ts";
import { MACHINE_FINALIZER } from "./seen.ts";

/** Machines that are worked on at once: each step waits for the API server most of its time. */
const WORKERS = 8;

/** Keeps VirtualMachines as their specs say. */
export function machineController(deps: ControlDeps): Controller {
  const name = "virtualmachine";
  const reconciler = new MachineReconciler(deps);
  return {
    name,
    run: async (signal) => {
      const { machines, instances, dataVolumes, claims, revisions } = deps.caches;
      const caches = [machines, instances, dataVolumes, claims, revisions];
      await Promise.all(caches.map(({ whole }) => whole));
      const queue = new WorkQueue({
        onFailure: (key, cause, retryMs) => {
          deps.onFailure(name, key, cause, retryMs);
        },
      });
      const stops = watchAll(deps, queue);
      try {
        await queue.run(WORKERS, (key, abort) => reconciler.reconcile(key, abort), signal);
      } finally {
        for (const stop of stops) stop();
      }
    },
  };
}

/** Tells of the object as it is, or as it was last. */
function newest<T>(tell: (object: T) => void) {
  return (before: T | undefined, after: T | undefined): void => {
    const object = after ?? before;
    if (object !== undefined) tell(object);
  };
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
