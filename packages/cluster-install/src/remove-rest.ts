import { CONFIG_MAPS, LEASES, SECRETS, SIGNING_REQUESTS, type Stored } from "@trine/kube-client";
import { CONTROL } from "./cluster-api.ts";
import { OURS, isAdopted, isOurs } from "./ownership.ts";
import { MANAGER, found, nameOf } from "./plan-install.ts";
import { usedClasses } from "./plan-prune.ts";
import { listed, remove, untilNone } from "./remove.ts";
import { NAMESPACES, OF_KUBERNETES, RUNTIME_CLASSES } from "./resources.ts";
import type { Uninstall } from "./uninstall.ts";

const SIGNER = "trine.dev/node";
/** Made by the program, where everybody reads whom to believe. */
const AUTHORITY = { namespace: "kube-public", name: "trine-authority" };
/** What the program keeps in its namespace. */
const KEPT = [
  [LEASES, CONTROL],
  ...[
    "trine-authority",
    "trine-virt-api-serving",
    "trine-virt-api-client",
    "trine-control-client",
    "trine-copy-key",
  ].map((name) => [SECRETS, name] as const),
] as const;

/** Rights, requests of nodes, RuntimeClasses that no pod needs, and the namespace with what is in it. */
export async function removeRest(step: Uninstall): Promise<void> {
  const { api, tell, signal } = step;
  const used = await usedClasses(api, signal);
  for (const resource of OF_KUBERNETES) {
    for (const object of await listed(api, resource, { labelSelector: OURS }, signal)) {
      const isUsed = resource === RUNTIME_CLASSES && used.has(object.metadata.name);
      if (isUsed) tell(`keep    ${nameOf(resource, object)}: pods have it`);
      else await remove(step, resource, object);
    }
  }
  for (const request of await listed(api, SIGNING_REQUESTS, {}, signal)) {
    if (request.spec.signerName === SIGNER) await remove(step, SIGNING_REQUESTS, request);
  }
  const authority = await found(api, CONFIG_MAPS, AUTHORITY, signal);
  if (authority !== undefined) await remove(step, CONFIG_MAPS, authority);
  await removeNamespace(step);
}

/** With the certificates and the lease in it; of one that was there before, these alone. */
async function removeNamespace(step: Uninstall): Promise<void> {
  const { api, namespace, dryRun, tell, signal } = step;
  const there = await found(api, NAMESPACES, { name: namespace }, signal);
  if (there === undefined) return;
  if (!isOurs(there) || isAdopted(there)) return giveBack(step, there);
  await remove(step, NAMESPACES, there);
  if (dryRun) return;
  const left = async () => {
    const now = await found(api, NAMESPACES, { name: namespace }, signal);
    return now === undefined ? [] : [now];
  };
  for (const object of await untilNone(step, "the namespace is gone", left)) {
    tell(`note    ${nameOf(NAMESPACES, object)} is not gone yet: Kubernetes still empties it`);
  }
}

/** Leaves a namespace as it was before us. */
async function giveBack(step: Uninstall, there: Stored): Promise<void> {
  const { api, namespace, dryRun, tell, signal } = step;
  for (const [resource, name] of KEPT) {
    const object = await found(api, resource, { namespace, name }, signal);
    if (object !== undefined) await remove(step, resource, object);
  }
  tell(`keep    ${nameOf(NAMESPACES, there)}: somebody else has made it`);
  if (dryRun || !isAdopted(there)) return;
  // What we apply no longer goes, and nothing else; the uid, so that a namespace that goes meanwhile is not made anew.
  const { name, uid } = there.metadata;
  const bare = { metadata: { name, uid } };
  await api.apply(NAMESPACES, bare, { manager: MANAGER, signal });
}
