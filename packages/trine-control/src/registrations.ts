import type { KubeApi, Resource } from "@trine/kube-client";
import { apiServices, webhookConfigurations } from "@trine/virt-api";
import { ensureObject } from "./register.ts";

const API_SERVICES: Resource = {
  group: "apiregistration.k8s.io",
  version: "v1",
  plural: "apiservices",
  kind: "APIService",
  namespaced: false,
};

const hooks = { group: "admissionregistration.k8s.io", version: "v1", namespaced: false } as const;
const MUTATING: Resource = {
  ...hooks,
  plural: "mutatingwebhookconfigurations",
  kind: "MutatingWebhookConfiguration",
};
const VALIDATING: Resource = {
  ...hooks,
  plural: "validatingwebhookconfigurations",
  kind: "ValidatingWebhookConfiguration",
};

/** Tells the API server where our API and our webhooks are and whom their certificate is signed by. */
export async function registerApi(
  api: Pick<KubeApi, "get" | "create" | "update">,
  of: {
    readonly service: { readonly namespace: string; readonly name: string; readonly port: number };
    /** PEM. */
    readonly authority: string;
    /** Whom the program is to the API server. */
    readonly account: string;
  },
  signal: AbortSignal,
): Promise<void> {
  for (const object of apiServices(of)) {
    await ensureObject(api, API_SERVICES, object, signal);
  }
  const [mutating, validating] = webhookConfigurations({ ...of, at: of.service });
  await ensureObject(api, MUTATING, mutating, signal);
  await ensureObject(api, VALIDATING, validating, signal);
}
