import type { KubeObject } from "@trine/kube-client";
import { type ClusterApi, NAMESPACE, type Tell } from "./cluster-api.ts";
import { MANAGER, type Planned, nameOf, planInstall } from "./plan-install.ts";
import { installed } from "./ownership.ts";
import { type Leftover, planPrune } from "./plan-prune.ts";
import { remove } from "./remove.ts";
import { CRDS, NAMESPACES } from "./resources.ts";
import { untilEstablished, untilServing } from "./until-serving.ts";

interface InstallOptions {
  /** The control plane, its kinds and its rights. */
  readonly cluster: readonly KubeObject[];
  /** Objects of its kinds. */
  readonly defaults: readonly KubeObject[];
  readonly dryRun: boolean;
  /** How long it may take until it serves. */
  readonly timeoutMs: number;
  readonly tell: Tell;
}

/** Makes the cluster as the manifests say, and waits until the control plane serves. May be repeated at any point. */
export async function installCluster(
  api: ClusterApi,
  options: InstallOptions,
  signal: AbortSignal,
): Promise<void> {
  const { dryRun, timeoutMs, tell } = options;
  const cluster = options.cluster.map(installed);
  const defaults = options.defaults.map(installed);
  // All of it is looked at before anything is changed: what is somebody else's ends it here.
  const plan = await planInstall(api, [...cluster, ...defaults], signal);
  const leftovers = await planPrune(api, [...cluster, ...defaults], signal);
  tellPlan(plan, leftovers, tell);
  if (dryRun) return;
  const isDefault = new Set(defaults);
  const own = plan.filter(({ object }) => !isDefault.has(object));
  const crds = own.filter(({ resource }) => resource === CRDS);
  await applyAll(api, crds, signal);
  await untilEstablished(api, crds, { timeoutMs, signal });
  const first = own.filter(({ resource }) => resource === NAMESPACES);
  const rest = own.filter(({ resource }) => resource !== NAMESPACES && resource !== CRDS);
  await applyAll(api, [...first, ...rest], signal);
  // The kinds' webhooks judge the defaults, so they have to be there.
  await untilServing(api, { namespace: NAMESPACE, timeoutMs, tell, signal });
  const last = plan.filter(({ object }) => isDefault.has(object));
  await applyAll(api, last, signal);
  await prune(api, [...cluster, ...defaults], signal);
}

/** What an earlier release has left goes last: until now its pods may have needed it. */
async function prune(
  api: ClusterApi,
  wanted: readonly KubeObject[],
  signal: AbortSignal,
): Promise<void> {
  const silent = { api, dryRun: false, tell: () => undefined, signal };
  for (const { resource, object, kept } of await planPrune(api, wanted, signal)) {
    if (kept === undefined) await remove(silent, resource, object);
  }
}

async function applyAll(
  api: ClusterApi,
  plan: readonly Planned[],
  signal: AbortSignal,
): Promise<void> {
  for (const { object, resource, verb, force } of plan) {
    if (verb !== "same") await api.apply(resource, object, { manager: MANAGER, force, signal });
  }
}

function tellPlan(plan: readonly Planned[], leftovers: readonly Leftover[], tell: Tell): void {
  const changed = plan.filter(({ verb }) => verb !== "same");
  for (const { resource, object, verb } of changed) {
    tell(`${verb.padEnd(6)}  ${nameOf(resource, object)}`);
  }
  for (const { resource, object, kept } of leftovers) {
    const name = nameOf(resource, object);
    tell(
      kept === undefined ? `remove  ${name}` : `keep    ${name}: no longer installed, but ${kept}`,
    );
  }
  const isQuiet = leftovers.every(({ kept }) => kept !== undefined);
  if (changed.length === 0 && isQuiet) tell("nothing to change");
}
