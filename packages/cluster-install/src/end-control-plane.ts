import { PODS } from "@trine/kube-client";
import { CONTROL } from "./cluster-api.ts";
import { found, nameOf } from "./plan-install.ts";
import { listed, remove, untilNone } from "./remove.ts";
import { OURS, isOurs } from "./ownership.ts";
import { API_SERVICES, BINDINGS, CLUSTER_BINDINGS, DEPLOYMENTS, WEBHOOKS } from "./resources.ts";
import type { Uninstall } from "./uninstall.ts";

/** Takes its rights, ends it, and tells the API server to ask it no more. */
export async function endControlPlane(step: Uninstall): Promise<void> {
  const { api, namespace, dryRun, tell, signal } = step;
  // First: whatever still runs somewhere cannot register itself again.
  for (const resource of [CLUSTER_BINDINGS, BINDINGS]) {
    for (const binding of await listed(api, resource, { labelSelector: OURS }, signal)) {
      if (binding.metadata.name.startsWith(CONTROL)) await remove(step, resource, binding);
    }
  }
  const at = { namespace, name: CONTROL };
  const deployment = await found(api, DEPLOYMENTS, at, signal);
  if (deployment !== undefined) await remove(step, DEPLOYMENTS, deployment);
  if (!dryRun) {
    const labelSelector = `app.kubernetes.io/name=${CONTROL}`;
    const pods = () => listed(api, PODS, { namespace, labelSelector }, signal);
    for (const pod of await untilNone(step, "the control plane has ended", pods)) {
      tell(`note    ${nameOf(PODS, pod)} has not ended: its node does not answer`);
    }
  }
  await unregister(step);
}

/** What leads to our Service, whoever wrote it and with whatever label. */
async function unregister(step: Uninstall): Promise<void> {
  const { api, namespace, signal } = step;
  for (const resource of WEBHOOKS) {
    for (const hooks of await listed(api, resource, {}, signal)) {
      const leadsHere = hooks.webhooks?.some(
        ({ clientConfig }) => clientConfig.service?.namespace === namespace,
      );
      if (leadsHere === true || isOurs(hooks)) await remove(step, resource, hooks);
    }
  }
  for (const service of await listed(api, API_SERVICES, {}, signal)) {
    if (service.spec.service?.namespace === namespace) await remove(step, API_SERVICES, service);
  }
}
