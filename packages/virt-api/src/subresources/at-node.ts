import { kindOf, messageOf } from "@trine/base";
import { PODS, type Pod, type Stored } from "@trine/kube-client";
import type { VirtualMachineInstance } from "@trine/kube-types";
import type { MachineRef, NodeDoor } from "@trine/node-door";
import type { VirtApiDeps } from "../deps.ts";
import { badRequest, conflict, internalError } from "../refusals/refusal.ts";
import { aboutInstance } from "./objects.ts";

/** Where a running machine is reached. */
export interface AtNode {
  readonly door: NodeDoor;
  readonly ref: MachineRef;
}

/** The door and the pod of a machine that runs. Rejects with 400 where it has no node or no pod (yet). */
export async function atNode(
  { kube, doorOf }: Pick<VirtApiDeps, "kube" | "doorOf">,
  instance: Stored<VirtualMachineInstance>,
  signal: AbortSignal,
): Promise<AtNode> {
  const { namespace = "", name, uid } = instance.metadata;
  const node = instance.status?.nodeName ?? "";
  if (node === "") throw badRequest(`VMI ${namespace}/${name} has no node`);
  const labelSelector = `kubevirt.io/created-by=${uid}`;
  const { items } = await kube
    .list(PODS, { namespace, labelSelector }, signal)
    .catch((cause: unknown) => {
      const why = `unable to retrieve the pod of vmi [${name}]: ${messageOf(cause)}`;
      throw internalError(why, { cause });
    });
  const pod = items.find((each) => isIts(each, instance, node));
  if (pod === undefined) {
    throw badRequest(`VMI ${namespace}/${name} has no running pod on node ${node}`);
  }
  const ref = { namespace, pod: pod.metadata.name, uid: pod.metadata.uid };
  return { door: await doorOf(node, signal), ref };
}

/** A label can be given to any pod by whoever may make pods; an owner with the instance's uid is written by its controller. */
function isIts(pod: Stored<Pod>, instance: Stored<VirtualMachineInstance>, node: string): boolean {
  const owners = pod.metadata.ownerReferences ?? [];
  const owned = owners.some(
    ({ uid, controller }) => uid === instance.metadata.uid && controller === true,
  );
  const phase = pod.status?.phase;
  const active = instance.status?.activePods;
  const listed = active === undefined || Object.hasOwn(active, pod.metadata.uid);
  const done = phase === "Succeeded" || phase === "Failed";
  return owned && listed && !done && pod.spec.nodeName === node;
}

/** What a node's refusal is to the client: a state that does not allow it stays 409, the rest is a failure behind us. */
export function nodeFailure(name: string, cause: unknown): Error {
  const kind = kindOf(cause);
  if (kind === "wrongState" || kind === "conflict") {
    return conflict(aboutInstance(name), messageOf(cause), { cause });
  }
  return internalError(messageOf(cause), { cause });
}
