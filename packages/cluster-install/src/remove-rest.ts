import { CONFIG_MAPS, PODS, SIGNING_REQUESTS } from "@trine/kube-client";
import { OURS, isOurs } from "./ownership.ts";
import { found, nameOf } from "./plan-install.ts";
import { listed, remove, untilNone } from "./remove.ts";
import { NAMESPACES, OF_KUBERNETES, RUNTIME_CLASSES } from "./resources.ts";
import type { Uninstall } from "./uninstall.ts";

const SIGNER = "trine.dev/node";
/** Made by the program, where everybody reads whom to believe. */
const AUTHORITY = { namespace: "kube-public", name: "trine-authority" };

/** Rights, requests of nodes, RuntimeClasses that no pod needs, and the namespace with what is in it. */
export async function removeRest(step: Uninstall): Promise<void> {
  const { api, tell, signal } = step;
  const used = await usedClasses(step);
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

async function usedClasses({ api, signal }: Uninstall): Promise<ReadonlySet<string>> {
  const pods = await listed(api, PODS, {}, signal);
  return new Set(pods.flatMap(({ spec }) => spec.runtimeClassName ?? []));
}

/** With the certificates and the lease in it; one that was there before stays. */
async function removeNamespace(step: Uninstall): Promise<void> {
  const { api, namespace, dryRun, tell, signal } = step;
  const there = await found(api, NAMESPACES, { name: namespace }, signal);
  if (there === undefined) return;
  if (!isOurs(there)) {
    tell(`keep    ${nameOf(NAMESPACES, there)}: somebody else has made it`);
    return;
  }
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
