import type { Schema } from "./schema.ts";

/** Who an object belongs to. */
export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** `metadata` of an object of the API. */
export interface ObjectMeta {
  readonly name?: string;
  readonly generateName?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string | null;
  readonly deletionTimestamp?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly finalizers?: readonly string[];
}

/** `metadata` of a whole object. */
export function metadata(): Schema<ObjectMeta> {
  return { node: { kind: "metadata" } };
}

/** `metadata` of a template inside another object: kept as it is, whatever stands in it. */
export function templateMetadata(): Schema<ObjectMeta | null> {
  return { node: { kind: "opaque", nullable: true } };
}
