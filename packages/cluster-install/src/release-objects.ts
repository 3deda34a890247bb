import { kindOf } from "@trine/base";
import {
  CLAIMS,
  type JsonPatchOperation,
  PODS,
  type Resource,
  type Stored,
} from "@trine/kube-client";
import { nameOf, placeOfObject } from "./plan-install.ts";
import { listed } from "./remove.ts";
import { OURS, isOurFinalizer } from "./ownership.ts";
import { CRDS, type Crd } from "./resources.ts";
import type { Uninstall } from "./uninstall.ts";

/** Of how many objects finalizers are taken at once. */
const AT_ONCE = 8;

/** Takes the control plane's finalizers from whatever has them: nobody is there to do it later. */
export async function releaseObjects(step: Uninstall): Promise<void> {
  const { api, signal } = step;
  const crds = await listed(api, CRDS, { labelSelector: OURS }, signal);
  for (const resource of [...crds.map(storedResource), PODS, CLAIMS]) {
    const objects = await listed(api, resource, {}, signal);
    const held = objects.filter(({ metadata }) => (metadata.finalizers ?? []).some(isOurFinalizer));
    for (let from = 0; from < held.length; from += AT_ONCE) {
      const some = held.slice(from, from + AT_ONCE);
      await Promise.all(some.map((object) => release(step, resource, object)));
    }
  }
}

/** The resource of a kind in the version in which it is stored. */
export function storedResource({ spec }: Crd): Resource {
  const { group, names, scope, versions } = spec;
  const version = versions.find(({ storage }) => storage)?.name ?? "v1";
  return { group, version, ...names, namespaced: scope === "Namespaced" };
}

async function release(step: Uninstall, resource: Resource, object: Stored): Promise<void> {
  const { api, dryRun, tell, signal } = step;
  tell(`release ${nameOf(resource, object)}`);
  if (dryRun) return;
  const { finalizers = [] } = object.metadata;
  const rest = finalizers.filter((name) => !isOurFinalizer(name));
  const path = "/metadata/finalizers";
  // Others' come and go meanwhile: what was not read is not taken.
  const test: JsonPatchOperation = { op: "test", path, value: finalizers };
  const change: JsonPatchOperation =
    rest.length === 0 ? { op: "remove", path } : { op: "replace", path, value: rest };
  try {
    await api.patch(resource, placeOfObject(object), [test, change], { signal });
  } catch (cause) {
    if (kindOf(cause) === "notFound") return;
    if (kindOf(cause) !== "conflict") throw cause;
    const now = await api.get(resource, placeOfObject(object), signal).catch((gone: unknown) => {
      if (kindOf(gone) !== "notFound") throw gone;
      return undefined;
    });
    if (now !== undefined) await release({ ...step, tell: () => undefined }, resource, now);
  }
}
