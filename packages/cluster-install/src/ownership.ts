import type { KubeObject } from "@trine/kube-client";
import { PART_OF } from "@trine/kube-types";

/** Of everything that is ours. */
export const OURS = `${PART_OF.label}=${PART_OF.value}`;

export function isOurs({ metadata }: KubeObject): boolean {
  return metadata?.labels?.[PART_OF.label] === PART_OF.value;
}

/**
 * Whether only the control plane takes this finalizer back: nobody does when it is gone. What others have put on objects is theirs
 * to take, and what Kubernetes' own collector has put there it takes itself.
 */
export function isOurFinalizer(name: string): boolean {
  const [domain = ""] = name.split("/");
  return ["kubevirt.io", "trine.dev"].some(
    (ours) => domain === ours || domain.endsWith(`.${ours}`),
  );
}
