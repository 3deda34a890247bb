import { PODS, type Resource, type Stored, resourceOf } from "@trine/kube-client";
import {
  DATA_VOLUME,
  VIRTUAL_MACHINE,
  VIRTUAL_MACHINE_INSTANCE,
  VIRTUAL_MACHINE_INSTANCE_REPLICA_SET,
} from "@trine/kube-types";
import { CONTROL, type ClusterApi } from "./cluster-api.ts";
import { found, nameOf } from "./plan-install.ts";
import { listed, remove, untilNone } from "./remove.ts";
import { DEPLOYMENTS } from "./resources.ts";
import type { Uninstall } from "./uninstall.ts";

/** Kinds whose objects are users' machines and data; who makes others comes before them. */
const MACHINES: readonly Resource[] = [
  resourceOf(VIRTUAL_MACHINE_INSTANCE_REPLICA_SET),
  resourceOf(VIRTUAL_MACHINE),
  resourceOf(VIRTUAL_MACHINE_INSTANCE),
  resourceOf(DATA_VOLUME),
];

/** Of pods that are machines. */
const LAUNCHERS = "kubevirt.io=virt-launcher";

interface Machines {
  readonly resource: Resource;
  readonly objects: readonly Stored[];
}

export async function machinesOf(api: ClusterApi, signal: AbortSignal): Promise<Machines[]> {
  const all: Machines[] = [];
  for (const resource of MACHINES) {
    const objects = await listed(api, resource, {}, signal);
    if (objects.length > 0) all.push({ resource, objects });
  }
  return all;
}

/** Deletes them and, where the control plane is there to end them in order, waits until they have ended. */
export async function removeMachines(
  step: Uninstall,
  machines: readonly Machines[],
): Promise<void> {
  const { api, tell, signal } = step;
  for (const { resource, objects } of machines) {
    for (const object of objects) await remove(step, resource, object);
  }
  if (step.dryRun || machines.length === 0) return;
  if (!(await isControlled(step))) {
    tell("note    no control plane runs: machines are not shut down in order");
    return;
  }
  const left = await untilNone(step, "machines have ended", () => machinesOf(api, signal));
  for (const { resource, objects } of left) {
    tell(`note    ${objects.length} ${resource.plural} have not ended in time`);
  }
}

async function isControlled({ api, namespace, signal }: Uninstall): Promise<boolean> {
  const there = await found(api, DEPLOYMENTS, { namespace, name: CONTROL }, signal);
  return (there?.status?.availableReplicas ?? 0) > 0;
}

/** Pods of machines that nobody looks after any more: kubelet ends them. */
export async function endMachinePods(step: Uninstall): Promise<void> {
  const { api, dryRun, tell, signal } = step;
  const pods = () => listed(api, PODS, { labelSelector: LAUNCHERS }, signal);
  for (const pod of await pods()) await remove(step, PODS, pod);
  if (dryRun) return;
  for (const pod of await untilNone(step, "pods of machines have ended", pods)) {
    tell(`note    ${nameOf(PODS, pod)} has not ended: its node does not answer`);
  }
}
