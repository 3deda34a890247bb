// What the API server makes of the objects that it is given.
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { TrineError } from "@trine/base";
import { KINDS, type ObjectMeta } from "@trine/kube-types";
import type { KubeObject, Stored } from "../object.ts";
import { type Resource, apiVersionOf } from "../resource.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Whether `status` is written by a subresource only. */
function hasStatus({ group, plural }: Resource): boolean {
  return KINDS.find((kind) => kind.group === group && kind.plural === plural)?.status ?? true;
}

export function freshObject(resource: Resource, object: KubeObject, nowMs: number): KubeObject {
  const { metadata = {} } = object;
  const own = { uid: randomUUID(), creationTimestamp: timeAt(nowMs), generation: 1 };
  const name = metadata.name ?? `${metadata.generateName ?? ""}${randomUUID().slice(0, 5)}`;
  const { status, ...rest } = object as Fields;
  return {
    ...rest,
    ...(!hasStatus(resource) && status !== undefined && { status }),
    apiVersion: apiVersionOf(resource),
    kind: resource.kind,
    metadata: { ...metadata, ...own, name },
  };
}

/** What is stored after `object` was put over `before`; `before` itself when nothing differs. */
export function updatedObject<T extends KubeObject>(
  resource: Resource,
  before: Stored<T>,
  object: KubeObject,
  subresource: string | undefined,
): KubeObject {
  const { metadata, resourceVersion } = { metadata: object.metadata ?? {}, ...object.metadata };
  if (resourceVersion !== undefined && resourceVersion !== before.metadata.resourceVersion) {
    throw new TrineError("conflict", `${resource.plural} ${before.metadata.name}: has changed`);
  }
  if (metadata.uid !== undefined && metadata.uid !== before.metadata.uid) {
    throw new TrineError("conflict", `${resource.plural} ${before.metadata.name}: another uid`);
  }
  const after = merged(resource, before, object, subresource);
  return isDeepStrictEqual(after, withPlainMeta(before)) ? before : after;
}

function merged(
  resource: Resource,
  before: Stored,
  object: KubeObject,
  subresource: string | undefined,
): KubeObject {
  if (subresource === "resize") return withPlainMeta({ ...before, ...pick(object, "spec") });
  if (subresource !== undefined) {
    return withPlainMeta({ ...before, ...pick(object, "status") });
  }
  const { status: oldStatus, ...oldRest } = before as Stored & Fields;
  const { status: newStatus, ...rest } = object as Fields;
  const status = hasStatus(resource) ? oldStatus : newStatus;
  const metadata = metaAfter(before.metadata, object.metadata ?? {});
  const next = { ...rest, apiVersion: before.apiVersion, kind: before.kind };
  const isNew = !isDeepStrictEqual({ ...next, metadata }, { ...oldRest, metadata });
  const generation = (before.metadata.generation ?? 1) + (isNew ? 1 : 0);
  return withPlainMeta({
    ...next,
    ...(status !== undefined && { status }),
    metadata: { ...metadata, generation },
  });
}

function pick(object: KubeObject, name: string): Fields {
  const value = (object as Fields)[name];
  return value === undefined ? {} : { [name]: value };
}

const USERS: ReadonlySet<string> = new Set([
  "labels",
  "annotations",
  "finalizers",
  "ownerReferences",
]);

/** Users change some of it; the rest is the server's. */
function metaAfter(before: ObjectMeta, wanted: ObjectMeta): ObjectMeta {
  const { labels, annotations, finalizers, ownerReferences } = wanted;
  const kept = Object.entries(before).filter(([name]) => !USERS.has(name));
  return {
    ...Object.fromEntries(kept),
    ...(labels !== undefined && { labels }),
    ...(annotations !== undefined && { annotations }),
    ...(finalizers !== undefined && finalizers.length > 0 && { finalizers }),
    ...(ownerReferences !== undefined && { ownerReferences }),
  };
}

/** The same with its metadata as a plain value: without the version, which the store sets. */
function withPlainMeta<T extends KubeObject>(object: T): T {
  const metadata = { ...object.metadata };
  Reflect.deleteProperty(metadata, "resourceVersion");
  return { ...object, metadata };
}

export function timeAt(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
