import { TrineError } from "@trine/base";
import { nameOf } from "./plan-install.ts";
import { listed, remove, untilNone } from "./remove.ts";
import { storedResource } from "./release-objects.ts";
import { OURS } from "./ownership.ts";
import { CRDS } from "./resources.ts";
import type { Uninstall } from "./uninstall.ts";

/** Removes our kinds with all of their objects; kind `wrongState` names whose finalizers keep some of them. */
export async function removeKinds(step: Uninstall): Promise<void> {
  const { api, dryRun, signal } = step;
  const crds = () => listed(api, CRDS, { labelSelector: OURS }, signal);
  for (const crd of await crds()) await remove(step, CRDS, crd);
  if (dryRun) return;
  const left = await untilNone(step, "the kinds are gone", crds);
  if (left.length === 0) return;
  const holders: string[] = [];
  for (const crd of left) {
    const resource = storedResource(crd);
    for (const object of await listed(api, resource, {}, signal)) {
      const { finalizers = [] } = object.metadata;
      holders.push(`${nameOf(resource, object)} (${finalizers.join(", ")})`);
    }
  }
  const names = left.map(({ metadata }) => metadata.name).join(", ");
  const by = holders.length === 0 ? "" : `, held by ${holders.slice(0, 10).join("; ")}`;
  throw new TrineError("wrongState", `not gone: ${names}${by}; run it again when that has ended`);
}
