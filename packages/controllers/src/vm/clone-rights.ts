import type { KubeApi, KubeObject, Resource } from "@trine/kube-client";
import type { DataSource, DataVolumeSpec } from "@trine/kube-types";

interface AccessReview extends KubeObject {
  readonly spec: {
    readonly user: string;
    readonly groups: readonly string[];
    readonly resourceAttributes: Readonly<Record<string, string>>;
  };
  readonly status?: { readonly allowed?: boolean; readonly reason?: string };
}

const REVIEWS: Resource<AccessReview> = {
  group: "authorization.k8s.io",
  version: "v1",
  plural: "subjectaccessreviews",
  kind: "SubjectAccessReview",
  namespaced: false,
};

/** Either of these lets an account read a namespace's claims whole. */
const RIGHTS = [
  { group: "cdi.kubevirt.io", resource: "datavolumes", subresource: "source" },
  { group: "", resource: "pods" },
] as const;

/** The namespace that a volume copies from, where it is another than its own. */
export function foreignSource(
  { source, sourceRef }: DataVolumeSpec,
  dataSource: DataSource | undefined,
  namespace: string,
): string | undefined {
  const direct = source?.pvc?.namespace ?? source?.snapshot?.namespace;
  const named = dataSource?.spec.source;
  const from =
    direct ?? named?.pvc?.namespace ?? named?.snapshot?.namespace ?? sourceRef?.namespace;
  return from === undefined || from === namespace ? undefined : from;
}

/**
 * Whether a machine's service account may copy volumes out of `from`. The controller makes the copy with its own rights,
 * which reach everywhere: so those of the machine's namespace are asked for.
 */
export async function mayClone(
  api: Pick<KubeApi, "create">,
  of: { readonly namespace: string; readonly account: string; readonly from: string },
  signal: AbortSignal,
): Promise<boolean> {
  const { namespace, account, from } = of;
  const groups = ["system:serviceaccounts", `system:serviceaccounts:${namespace}`];
  for (const right of RIGHTS) {
    const review = await api.create(
      REVIEWS,
      {
        spec: {
          user: `system:serviceaccount:${namespace}:${account}`,
          groups: [...groups, "system:authenticated"],
          resourceAttributes: { namespace: from, verb: "create", ...right },
        },
      },
      { signal },
    );
    if (review.status?.allowed === true) return true;
  }
  return false;
}
