import { TrineError } from "@trine/base";
import { type ClusterApi, NAMESPACE } from "./cluster-api.ts";
import { endControlPlane } from "./end-control-plane.ts";
import { endMachinePods, machinesOf, removeMachines } from "./machines.ts";
import { releaseObjects } from "./release-objects.ts";
import { removeKinds } from "./remove-kinds.ts";
import { removeRest } from "./remove-rest.ts";
import type { Uninstall, UninstallOptions } from "./uninstall.ts";

/**
 * Takes everything back, also where nothing of the control plane runs any more. The order is what keeps anything from being stuck:
 * who would put it back loses its rights, then nobody is asked who cannot answer, then what only the control plane would
 * have released is released, then the kinds go, and the namespace last. May be repeated at any point.
 */
export async function uninstallCluster(
  api: ClusterApi,
  options: UninstallOptions,
  signal: AbortSignal,
): Promise<void> {
  const step: Uninstall = { ...options, api, namespace: NAMESPACE, signal };
  const machines = await allowedMachines(step, "remove them first");
  await removeMachines(step, machines);
  await endControlPlane(step);
  // Users go on meanwhile, and from here on nobody would end what they make in order.
  const since = "they are new since this began: install it again to keep them";
  await allowedMachines(step, since);
  await endMachinePods(step);
  await releaseObjects(step);
  await allowedMachines(step, since);
  await removeKinds(step);
  await removeRest(step);
}

/** What there is of machines and volumes; kind `wrongState` where there are some and they are not to be removed. */
async function allowedMachines(
  { api, removeMachines: isAllowed, signal }: Uninstall,
  otherwise: string,
): ReturnType<typeof machinesOf> {
  const machines = await machinesOf(api, signal);
  if (machines.length === 0 || isAllowed) return machines;
  const counts = machines.map(({ resource, objects }) => `${objects.length} ${resource.plural}`);
  const how = `${otherwise}, or say --remove-machines, which takes their data too`;
  throw new TrineError("wrongState", `there are ${counts.join(", ")}: ${how}`);
}
