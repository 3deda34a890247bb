import type { ObjectMeta } from "@trine/kube-types";

/** An object as its writer makes it: the server fills in what is left out. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: ObjectMeta;
}

/** What every object that came from the server has. */
export interface StoredMeta extends ObjectMeta {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
}

/** An object as the server answers it. */
export type Stored<T extends KubeObject = KubeObject> = T & {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: StoredMeta;
};

/** `NAMESPACE/NAME`, or `NAME` of what is in no namespace: how caches and queues call an object. */
export function keyOf({ metadata }: KubeObject): string {
  const { namespace, name = "" } = metadata ?? {};
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}

/** The place that a key names. */
export function placeOf(key: string): Place {
  const slash = key.indexOf("/");
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** Where an object is, among those of its resource. */
export interface Place {
  readonly namespace?: string;
  readonly name: string;
}
