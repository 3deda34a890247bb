import type { Kind } from "@trine/kube-types";
import type { KubeObject } from "./object.ts";

declare const OF: unique symbol;

/** A resource of the API in one version, together with the type of its objects. */
export interface Resource<T extends KubeObject = KubeObject> {
  /** Empty: the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly [OF]?: T;
}

/** The resource of one of our kinds, in the version that is stored. */
export function resourceOf<T extends KubeObject>(kind: Kind<T>): Resource<T> {
  const [{ name: version }] = kind.versions;
  const { group, plural, name, scope } = kind;
  return { group, version, plural, kind: name, namespaced: scope === "Namespaced" };
}

/** `v1`, `kubevirt.io/v1`: what objects of it say in `apiVersion`. */
export function apiVersionOf({ group, version }: Resource): string {
  return group === "" ? version : `${group}/${version}`;
}
