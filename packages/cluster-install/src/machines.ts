import { TrineError } from "@trine/base";
import { PODS, type Pod, type Resource, type Stored, resourceOf } from "@trine/kube-client";
import {
  DATA_VOLUME,
  VIRTUAL_MACHINE,
  VIRTUAL_MACHINE_INSTANCE,
  VIRTUAL_MACHINE_INSTANCE_REPLICA_SET,
} from "@trine/kube-types";
import { CONTROL, type ClusterApi } from "./cluster-api.ts";
import { isOurs } from "./ownership.ts";
import { found, nameOf } from "./plan-install.ts";
import { listed, remove, untilNone } from "./remove.ts";
import { CRDS, DEPLOYMENTS } from "./resources.ts";
import type { Uninstall } from "./uninstall.ts";

const INSTANCES: Resource = resourceOf(VIRTUAL_MACHINE_INSTANCE);

/** Kinds whose objects are users' machines and data; who makes others comes before them. */
const MACHINES: readonly Resource[] = [
  resourceOf(VIRTUAL_MACHINE_INSTANCE_REPLICA_SET),
  resourceOf(VIRTUAL_MACHINE),
  INSTANCES,
  resourceOf(DATA_VOLUME),
];

/** Of pods that are machines. */
const LAUNCHERS = "kubevirt.io=virt-launcher";

interface Machines {
  readonly resource: Resource;
  readonly objects: readonly Stored[];
}

/** Kind `wrongState` where there are some of a kind that is somebody else's. */
export async function machinesOf(api: ClusterApi, signal: AbortSignal): Promise<Machines[]> {
  const all: Machines[] = [];
  for (const resource of MACHINES) {
    const objects = await listed(api, resource, {}, signal);
    if (objects.length === 0) continue;
    if (!(await isOurKind(api, resource, signal))) {
      const what = `there are ${objects.length} ${resource.plural}`;
      const why = `the kind ${nameOfKind(resource)} is not Trine's: another installation has them`;
      throw new TrineError("wrongState", `${what}, and ${why}`);
    }
    all.push({ resource, objects });
  }
  return all;
}

async function isOurKind(
  api: ClusterApi,
  resource: Resource,
  signal: AbortSignal,
): Promise<boolean> {
  const crd = await found(api, CRDS, { name: nameOfKind(resource) }, signal);
  return crd !== undefined && isOurs(crd);
}

function nameOfKind({ plural, group }: Resource): string {
  return `${plural}.${group}`;
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
  // Another KubeVirt's pods have the same label, and owners of the same kind.
  if (!(await isOurKind(api, INSTANCES, signal))) return;
  const pods = async () =>
    (await listed(api, PODS, { labelSelector: LAUNCHERS }, signal)).filter(isOfInstance);
  for (const pod of await pods()) await remove(step, PODS, pod);
  if (dryRun) return;
  for (const pod of await untilNone(step, "pods of machines have ended", pods)) {
    tell(`note    ${nameOf(PODS, pod)} has not ended: its node does not answer`);
  }
}

function isOfInstance({ metadata }: Stored<Pod>): boolean {
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
  return owner?.kind === INSTANCES.kind && owner.apiVersion.split("/")[0] === INSTANCES.group;
}
