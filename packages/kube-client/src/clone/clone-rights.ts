import type { KubeApi } from "../kube-api.ts";
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

/** Either of these lets somebody read a namespace's claims whole. */
const RIGHTS = [
  { group: "cdi.kubevirt.io", resource: "datavolumes", subresource: "source" },
  { group: "", resource: "pods" },
] as const;

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
 * Whether somebody may copy volumes out of the namespace `from`. Who makes the copy does it with rights that reach
 * everywhere: so those of who asks for it are asked for.
 */
export async function mayClone(
  api: Pick<KubeApi, "create">,
  { name, uid, groups, extra }: CloneUser,
  from: string,
  signal: AbortSignal,
): Promise<boolean> {
  for (const right of RIGHTS) {
    const resourceAttributes = { namespace: from, verb: "create", ...right };
    const who = { user: name, groups, ...(uid && { uid }), ...(extra && { extra }) };
    const asked = { spec: { ...who, resourceAttributes } };
    const { status } = await api.create(REVIEWS, asked, { signal });
    if (status?.allowed === true && status.denied !== true) return true;
  }
  return false;
}
