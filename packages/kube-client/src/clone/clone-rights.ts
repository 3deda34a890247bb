import type { KubeApi } from "../kube-api.ts";
import type { CloneSource } from "./clone-source.ts";
import type { KubeObject } from "../object.ts";
import type { Resource } from "../resource.ts";

interface AccessReview extends KubeObject {
  readonly spec: {
    readonly user: string;
    readonly uid?: string;
    readonly groups: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
    readonly resourceAttributes: Readonly<Record<string, string>>;
  };
  readonly status?: {
    readonly allowed?: boolean;
    readonly denied?: boolean;
    readonly reason?: string;
  };
}

const REVIEWS: Resource<AccessReview> = {
  group: "authorization.k8s.io",
  version: "v1",
  plural: "subjectaccessreviews",
  kind: "SubjectAccessReview",
  namespaced: false,
};

type Right = Readonly<Record<string, string>>;

const EXPLICIT: Right = {
  group: "cdi.kubevirt.io",
  resource: "datavolumes",
  subresource: "source",
};
const PODS: Right = { group: "", resource: "pods" };

/** Each of these lets somebody read a namespace's claims, or its snapshots, whole: all rights of one. As CDI has them. */
const WAYS = {
  pvc: [[EXPLICIT], [PODS]],
  snapshot: [[EXPLICIT], [PODS, { group: "", resource: "pvcs" }]],
} as const satisfies Readonly<Record<CloneSource["kind"], readonly (readonly Right[])[]>>;

/** As the API server names them. */
export interface CloneUser {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** A service account, as the API server would name it. */
export function accountUser(namespace: string, account: string): CloneUser {
  const groups = ["system:serviceaccounts", `system:serviceaccounts:${namespace}`];
  return {
    name: `system:serviceaccount:${namespace}:${account}`,
    groups: [...groups, "system:authenticated"],
  };
}

/**
 * Whether somebody may copy what is of another namespace. Who makes the copy does it with rights that reach everywhere:
 * so those of who asks for it are asked for.
 */
export async function mayClone(
  api: Pick<KubeApi, "create">,
  user: CloneUser,
  from: CloneSource,
  signal: AbortSignal,
): Promise<boolean> {
  for (const way of WAYS[from.kind]) {
    if (await hasAll(api, user, from, way, signal)) return true;
  }
  return false;
}

async function hasAll(
  api: Pick<KubeApi, "create">,
  { name: user, uid, groups, extra }: CloneUser,
  { namespace, name }: CloneSource,
  rights: readonly Right[],
  signal: AbortSignal,
): Promise<boolean> {
  for (const right of rights) {
    // By name: a role may have the right to some only.
    const resourceAttributes = { namespace, name, verb: "create", ...right };
    const who = { user, groups, ...(uid && { uid }), ...(extra && { extra }) };
    const asked = { spec: { ...who, resourceAttributes } };
    const { status } = await api.create(REVIEWS, asked, { signal });
    if (status?.allowed !== true || status.denied === true) return false;
  }
  return true;
}

/** What somebody is told who may not. */
export function cloneRefusal({ name }: CloneUser, { namespace }: CloneSource): string {
  return `User ${name} has insufficient permissions in clone source namespace ${namespace}`;
}
