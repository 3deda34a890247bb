import { isDeepStrictEqual } from "node:util";
import { TrineError, allDone, kindOf, messageOf } from "@trine/base";
import type { Outcome, Stored } from "@trine/kube-client";
import { type VirtualMachineInstance, defaultInstance } from "@trine/kube-types";
import type { ControlDeps } from "../controller.ts";
import { INSTANCES, REPLICA_SETS } from "../kinds.ts";
import { controllerOf, ownedBy } from "../owner.ts";
import { type ReplicaSet, type Steps, nextSteps } from "./next-steps.ts";
import { selects } from "./selector.ts";
import { type SetFailure, setStatus } from "./status.ts";

type Instance = Stored<VirtualMachineInstance>;

/** Moves one set a step towards as many instances as it is to have. */
export async function reconcileSet(
  deps: ControlDeps,
  key: string,
  signal: AbortSignal,
): Promise<Outcome> {
  const { replicaSets, instances } = deps.caches;
  const set = replicaSets.get(key);
  if (set === undefined) return "settled"; // owner references remove the instances for us
  const all = instances.list(set.metadata.namespace ?? "default");
  let trouble: { readonly failure: SetFailure; readonly cause: unknown } | undefined;
  try {
    requireMatch(set);
    await act(deps, set, nextSteps(set, all), signal);
  } catch (cause) {
    if (["canceled", "conflict"].includes(kindOf(cause))) throw cause;
    trouble = { failure: { reason: "FailedCreate", message: messageOf(cause) }, cause };
  }
  await tell(deps, set, setStatus(set, all, trouble?.failure, deps.now()), signal);
  if (trouble !== undefined) throw trouble.cause;
  return "settled";
}

/** Else each instance that is made would not be the set's, and there would be ever more. */
function requireMatch({ spec }: ReplicaSet): void {
  if (selects(spec.selector, spec.template.metadata?.labels)) return;
  const what = "spec.selector does not choose what spec.template.metadata.labels says";
  throw new TrineError("invalid", what);
}

async function act(
  deps: ControlDeps,
  set: ReplicaSet,
  steps: Steps,
  signal: AbortSignal,
): Promise<void> {
  const { api } = deps;
  await allDone([
    ...steps.create.map((name) => create(deps, set, name, signal)),
    ...steps.delete.map((vmi) => remove(deps, set, vmi, signal)),
    ...steps.adopt.map(async (vmi) => {
      const { ownerReferences = [] } = vmi.metadata;
      const metadata = { ...vmi.metadata, ownerReferences: [...ownerReferences, ownedBy(set)] };
      await api.update(INSTANCES, { ...vmi, metadata }, { signal });
    }),
    ...steps.release.map(async (vmi) => {
      const { ownerReferences = [] } = vmi.metadata;
      const others = ownerReferences.filter(({ uid }) => uid !== set.metadata.uid);
      const metadata = { ...vmi.metadata, ownerReferences: others };
      await api.update(INSTANCES, { ...vmi, metadata }, { signal });
    }),
  ]);
}

async function create(
  { api, events, defaults, now }: ControlDeps,
  set: ReplicaSet,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const { metadata, spec } = set.spec.template;
  if (spec === undefined) throw new TrineError("invalid", "spec.template.spec is missing");
  const { namespace = "default" } = set.metadata;
  const instance: VirtualMachineInstance = {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachineInstance",
    metadata: {
      name,
      namespace,
      labels: { ...metadata?.labels },
      annotations: { ...metadata?.annotations },
      ownerReferences: [ownedBy(set)],
    },
    spec,
  };
  const uuid = (): string => crypto.randomUUID();
  try {
    await api.create(INSTANCES, defaultInstance(instance, defaults(), { uuid, now: now() }), {
      signal,
    });
    const message = `Started the virtual machine by creating the new virtual machine instance ${name}`;
    events.record(set, { type: "Normal", reason: "SuccessfulCreate", message });
  } catch (cause) {
    if (kindOf(cause) === "alreadyExists") {
      const found = await api.get(INSTANCES, { namespace, name }, signal);
      if (controllerOf(found)?.uid === set.metadata.uid) return;
    }
    const message = `Error creating virtual machine instance ${name}: ${messageOf(cause)}`;
    events.record(set, { type: "Warning", reason: "FailedCreate", message });
    throw TrineError.during(`virtual machine instance ${name}`, cause);
  }
}

async function remove(
  { api, events }: ControlDeps,
  set: ReplicaSet,
  { metadata }: Instance,
  signal: AbortSignal,
): Promise<void> {
  const { namespace = "default", name, uid } = metadata;
  try {
    await api.delete(INSTANCES, { namespace, name }, { uid, signal });
  } catch (cause) {
    if (["notFound", "conflict"].includes(kindOf(cause))) return;
    throw cause;
  }
  const message = `Stopped the virtual machine by deleting the virtual machine instance ${uid}`;
  events.record(set, { type: "Normal", reason: "SuccessfulDelete", message });
}

async function tell(
  { api }: ControlDeps,
  set: ReplicaSet,
  status: ReturnType<typeof setStatus>,
  signal: AbortSignal,
): Promise<void> {
  if (isDeepStrictEqual(status, set.status)) return;
  await api.update(REPLICA_SETS, { ...set, status }, { subresource: "status", signal });
}
