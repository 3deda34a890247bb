import { createHash } from "node:crypto";
import type { Bundle } from "./bundle.ts";

/** Who a pod is: to containerd by namespace and sandbox id, to people by its Kubernetes names. */
export interface PodIdentity {
  readonly namespace: string;
  readonly sandboxId: string;
  readonly name: string;
  readonly podNamespace: string;
  readonly uid: string;
}

/** Annotation names of the two CRI servers, by what they say. */
const NAMES = {
  name: ["io.kubernetes.cri.sandbox-name", "io.kubernetes.cri-o.KubeName"],
  podNamespace: ["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri-o.Namespace"],
  uid: ["io.kubernetes.cri.sandbox-uid", "io.kubernetes.cri-o.PodUid"],
  container: ["io.kubernetes.cri.container-name", "io.kubernetes.cri-o.ContainerName"],
} as const;

export function identityOf(
  ref: { namespace: string; sandboxId: string },
  bundle: Bundle,
): PodIdentity {
  return {
    namespace: ref.namespace,
    sandboxId: ref.sandboxId,
    // ctr and docker give no pod names: the id is the name.
    name: annotation(bundle, NAMES.name) ?? ref.sandboxId,
    podNamespace: annotation(bundle, NAMES.podNamespace) ?? "",
    uid: annotation(bundle, NAMES.uid) ?? "",
  };
}

/** The container's name in its pod; undefined outside CRI. */
export function containerNameOf(bundle: Bundle): string | undefined {
  return annotation(bundle, NAMES.container);
}

function annotation(bundle: Bundle, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = bundle.annotations[name];
    if (value !== undefined && value !== "") return value;
  }
  return undefined;
}

/** RFC 4122 version 5 shaped UUID of a name, so that a repeated create gives the same machine. */
export function uuidOf(...parts: readonly string[]): string {
  const hash = createHash("sha256").update(parts.join("\0")).digest();
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x50;
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  const hex = hash.toString("hex");
  return [8, 12, 16, 20, 32]
    .map((end, i, ends) => hex.slice(i === 0 ? 0 : ends[i - 1], end))
    .join("-");
}
