import type { KubeObject, Stored } from "@trine/kube-client";
import type { OwnerReference } from "@trine/kube-types";

/** What an object says of the one that it was made for: it goes when that goes. */
export function ownedBy({ apiVersion, kind, metadata }: Stored): OwnerReference {
  const { name, uid } = metadata;
  return { apiVersion, kind, name, uid, controller: true, blockOwnerDeletion: true };
}

/** Who an object belongs to. */
export function controllerOf({ metadata }: KubeObject): OwnerReference | undefined {
  return metadata?.ownerReferences?.find(({ controller }) => controller === true);
}
