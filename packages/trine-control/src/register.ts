import { isDeepStrictEqual } from "node:util";
import { kindOf } from "@trine/base";
import type { KubeApi, KubeObject, Resource, Stored } from "@trine/kube-client";

type Fields = Readonly<Record<string, unknown>>;

/**
 * Sees that an object of ours is as it should be: made where it is not there, and what we say of it put back where
 * somebody changed it. What the server adds by itself stays.
 */
export async function ensureObject(
  api: Pick<KubeApi, "get" | "create" | "update">,
  resource: Resource,
  object: KubeObject,
  signal: AbortSignal,
): Promise<void> {
  const { name = "", namespace } = object.metadata ?? {};
  const at = namespace === undefined ? { name } : { namespace, name };
  const there = await api.get(resource, at, signal).catch((cause: unknown) => {
    if (kindOf(cause) !== "notFound") throw cause;
    return undefined;
  });
  if (there === undefined) {
    await api.create(resource, object, { signal });
    return;
  }
  const wanted = merge(there, object) as Stored;
  if (!isDeepStrictEqual(wanted, there)) await api.update(resource, wanted, { signal });
}

/** What is there with what we want over it; lists of objects part by part, so that defaults in them stay. */
function merge(there: unknown, wanted: unknown): unknown {
  if (Array.isArray(wanted) && Array.isArray(there)) {
    if (wanted.length !== there.length) return wanted;
    return wanted.map((each, n) => merge(there[n], each));
  }
  if (!isFields(wanted) || !isFields(there)) return wanted;
  const entries = Object.entries(wanted).map(([name, value]) => [name, merge(there[name], value)]);
  return { ...there, ...(Object.fromEntries(entries) as Fields) };
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
