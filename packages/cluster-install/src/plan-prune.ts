import { kindOf } from "@trine/base";
import { type KubeObject, PODS, type Resource, type Stored, resourceOf } from "@trine/kube-client";
import { VIRTUAL_MACHINE } from "@trine/kube-types";
import type { ClusterApi } from "./cluster-api.ts";
import { OURS, isInstalled } from "./ownership.ts";
import { nameOf } from "./plan-install.ts";
import { storedResource } from "./release-objects.ts";
import { listed } from "./remove.ts";
import {
  CRDS,
  OF_KUBERNETES,
  RUNTIME_CLASSES,
  ownResource,
  resourceOfObject,
} from "./resources.ts";

/** What an earlier release has installed and this one has not. */
export interface Leftover {
  readonly resource: Resource;
  readonly object: Stored;
  /** Why it stays; undefined: it goes. */
  readonly kept?: string;
}

const INSTANCETYPES: Resource = ownResource("VirtualMachineClusterInstancetype");
const PREFERENCES: Resource = ownResource("VirtualMachineClusterPreference");

/**
 * Kinds that are looked through, in the order in which they go: rights before what has them, kinds last. Namespaces have others'
 * things in them, and what the KubeVirt object says is its user's: those an uninstall takes.
 */
const PRUNED: readonly Resource[] = [...OF_KUBERNETES, INSTANCETYPES, PREFERENCES, CRDS];

/** What an install has left that is not among `wanted`. Whatever is in use stays, and says so. */
export async function planPrune(
  api: Pick<ClusterApi, "list">,
  wanted: readonly KubeObject[],
  signal: AbortSignal,
): Promise<readonly Leftover[]> {
  const known = new Set(wanted.map((object) => nameOf(resourceOfObject(object), object)));
  const all: Leftover[] = [];
  for (const resource of PRUNED) {
    const objects = await listed(api, resource, { labelSelector: OURS }, signal);
    const left = objects.filter(
      (object) => isInstalled(object) && !known.has(nameOf(resource, object)),
    );
    const whyKept = left.length === 0 ? () => undefined : await usersOf(api, resource, signal);
    for (const object of left) {
      const kept = await whyKept(object);
      all.push(kept === undefined ? { resource, object } : { resource, object, kept });
    }
  }
  return all;
}

type WhyKept = (object: Stored) => Promise<string | undefined> | string | undefined;

/** Who needs objects of that resource. */
async function usersOf(
  api: Pick<ClusterApi, "list">,
  resource: Resource,
  signal: AbortSignal,
): Promise<WhyKept> {
  if (resource === CRDS) {
    return async (object) => {
      const kind = storedResource(object as Parameters<typeof storedResource>[0]);
      const there = await answered(api, kind, signal);
      if (there === undefined) return "it is not known whether there are any of it";
      return there.length === 0 ? undefined : `there are ${there.length} of it`;
    };
  }
  const who = resource === RUNTIME_CLASSES ? "pods" : "machines";
  const used = await namesInUse(api, resource, signal);
  if (used === undefined) return () => `it is not known whether ${who} have it`;
  return ({ metadata }) => (used.has(metadata.name) ? `${who} have it` : undefined);
}

/** Nothing where nobody can say it. */
async function namesInUse(
  api: Pick<ClusterApi, "list">,
  resource: Resource,
  signal: AbortSignal,
): Promise<ReadonlySet<string> | undefined> {
  if (resource === RUNTIME_CLASSES) return usedClasses(api, signal);
  if (resource !== INSTANCETYPES && resource !== PREFERENCES) return new Set();
  const machines = await answered(api, resourceOf(VIRTUAL_MACHINE), signal);
  const names = machines?.map(({ spec: { instancetype, preference } }) =>
    resource === INSTANCETYPES ? instancetype?.name : preference?.name,
  );
  return names && new Set(names.filter((name) => name !== undefined));
}

/** Nothing where the API server does not serve the kind: there may be objects of it all the same. */
async function answered<T extends KubeObject>(
  api: Pick<ClusterApi, "list">,
  resource: Resource<T>,
  signal: AbortSignal,
): Promise<readonly Stored<T>[] | undefined> {
  try {
    return (await api.list(resource, {}, signal)).items;
  } catch (cause) {
    if (kindOf(cause) !== "notFound") throw cause;
    return undefined;
  }
}

/** RuntimeClasses that pods name. */
export async function usedClasses(
  api: Pick<ClusterApi, "list">,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const pods = await listed(api, PODS, {}, signal);
  return new Set(pods.flatMap(({ spec }) => spec.runtimeClassName ?? []));
}
