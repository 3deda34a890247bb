import { TrineError } from "@trine/base";
import {
  CONFIG_MAPS,
  type KubeObject,
  type Resource,
  apiVersionOf,
  resourceOf,
} from "@trine/kube-client";
import { KINDS, type Kind } from "@trine/kube-types";

function resource<T extends KubeObject = KubeObject>(
  kind: string,
  group: string,
  namespaced: boolean,
  plural?: string,
): Resource<T> {
  const lower = `${kind.toLowerCase()}s`;
  return { group, version: "v1", kind, plural: plural ?? lower, namespaced };
}

const RBAC = "rbac.authorization.k8s.io";
const HOOKS = "admissionregistration.k8s.io";

export const CRDS = resource<Crd>("CustomResourceDefinition", "apiextensions.k8s.io", false);
export const NAMESPACES = resource("Namespace", "", false);
export const DEPLOYMENTS = resource<Deployment>("Deployment", "apps", true);
export const API_SERVICES = resource<ApiService>("APIService", "apiregistration.k8s.io", false);
export const WEBHOOKS = [
  resource<WebhookConfiguration>("MutatingWebhookConfiguration", HOOKS, false),
  resource<WebhookConfiguration>("ValidatingWebhookConfiguration", HOOKS, false),
] as const;
export const RUNTIME_CLASSES = resource<RuntimeClass>(
  "RuntimeClass",
  "node.k8s.io",
  false,
  "runtimeclasses",
);
export const CLUSTER_BINDINGS = resource("ClusterRoleBinding", RBAC, false);
export const BINDINGS = resource("RoleBinding", RBAC, true);

/** Kinds of Kubernetes' own of which something is installed, in the order in which it is taken back. */
export const OF_KUBERNETES: readonly Resource[] = [
  CLUSTER_BINDINGS,
  BINDINGS,
  resource("ClusterRole", RBAC, false),
  resource("Role", RBAC, true),
  DEPLOYMENTS,
  resource("PodDisruptionBudget", "policy", true),
  resource("Service", "", true),
  resource("NetworkPolicy", "networking.k8s.io", true, "networkpolicies"),
  resource("ServiceAccount", "", true),
  CONFIG_MAPS,
  RUNTIME_CLASSES,
];

const ALL = [
  CRDS,
  NAMESPACES,
  ...OF_KUBERNETES,
  ...KINDS.map((kind) => resourceOf(kind as Kind<KubeObject>)),
];

/** Of this release's own kinds, by name. */
export function ownResource(name: string): Resource {
  const found = ALL.find(({ kind, group }) => kind === name && group.endsWith("kubevirt.io"));
  if (found === undefined) throw new TrineError("internal", `${name}: is no kind of ours`);
  return found;
}

/** The resource of an object; kind `invalid` where a manifest has what this release does not install. */
export function resourceOfObject({ apiVersion, kind, metadata }: KubeObject): Resource {
  const found = ALL.find((each) => each.kind === kind && apiVersionOf(each) === apiVersion);
  if (found !== undefined) return found;
  const what = `${String(apiVersion)} ${String(kind)} ${metadata?.name ?? ""}`;
  throw new TrineError("invalid", `${what}: is of no kind that is installed`);
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

export interface Crd extends KubeObject {
  readonly spec: {
    readonly group: string;
    readonly scope: string;
    readonly names: { readonly plural: string; readonly kind: string };
    readonly versions: readonly { readonly name: string; readonly storage: boolean }[];
  };
  readonly status?: { readonly conditions?: readonly Condition[] };
}

interface Deployment extends KubeObject {
  readonly spec: { readonly replicas?: number };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
  };
}

interface ApiService extends KubeObject {
  readonly spec: { readonly service?: { readonly namespace?: string } | null };
  readonly status?: { readonly conditions?: readonly Condition[] };
}

interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly {
    readonly clientConfig: { readonly service?: { readonly namespace?: string } };
  }[];
}

interface RuntimeClass extends KubeObject {
  readonly handler: string;
}
