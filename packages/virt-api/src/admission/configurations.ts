import { HOOKS } from "./hooks.ts";
import type { Hook } from "./hook.ts";

/** Where the API server finds us, and whom our certificate is signed by. */
export interface HookClient {
  /** Of the service, or a URL where there is no service. */
  readonly at:
    { readonly namespace: string; readonly name: string; readonly port: number } | string;
  /** PEM. */
  readonly authority: string;
  /** The user that trine-control is to the API server. */
  readonly account: string;
}

const SECONDS = 10;

/** MutatingWebhookConfiguration and ValidatingWebhookConfiguration, as the API server takes them. */
export function webhookConfigurations(client: HookClient): [object, object] {
  const of = (type: Hook["type"]): object[] =>
    HOOKS.filter((hook) => hook.type === type).map((hook) => webhook(hook, client));
  const base = { apiVersion: "admissionregistration.k8s.io/v1" };
  return [
    {
      ...base,
      kind: "MutatingWebhookConfiguration",
      metadata: { name: "virt-api-mutator" },
      webhooks: of("mutating"),
    },
    {
      ...base,
      kind: "ValidatingWebhookConfiguration",
      metadata: { name: "virt-api-validator" },
      webhooks: of("validating"),
    },
  ];
}

function webhook(hook: Hook, { at, authority, account }: HookClient): object {
  const { name, path, group, version, resources, operations, whenAway, sideEffects } = hook;
  const caBundle = Buffer.from(authority).toString("base64");
  const clientConfig =
    typeof at === "string"
      ? { url: `${at}${path}`, caBundle }
      : { service: { ...at, path }, caBundle };
  return {
    name,
    clientConfig,
    rules: [{ apiGroups: [group], apiVersions: [version], resources, operations, scope: "*" }],
    failurePolicy: whenAway,
    // v1alpha3 comes as v1.
    matchPolicy: "Equivalent",
    sideEffects,
    timeoutSeconds: SECONDS,
    ...(hook.isSparingControl && { matchConditions: [sparing(account)] }),
    admissionReviewVersions: ["v1"],
    ...(hook.type === "mutating" && { reinvocationPolicy: "IfNeeded" }),
  };
}

/** An expression of the API server's (CEL): false of a change by `account` that leaves the spec as it was. */
function sparing(account: string): { readonly name: string; readonly expression: string } {
  const isOwn = `request.operation == "UPDATE" && request.userInfo.username == ${JSON.stringify(account)}`;
  return {
    name: "not-by-trine-control",
    expression: `!(${isOwn} && object.spec == oldObject.spec)`,
  };
}
