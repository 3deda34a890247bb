import { TrineError } from "@trine/base";
import type { KubeObject, Stored } from "./object.ts";
import { type Resource, apiVersionOf } from "./resource.ts";

type Fields = Record<string, unknown>;

/** A body that must be one JSON object; kind `unavailable` otherwise: something in between has answered. */
export function parseObject(what: string, body: Buffer): Fields {
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    // The parser quotes what it read.
  }
  if (!isObject(value))
    throw new TrineError("unavailable", `${what}: the answer is no JSON object`);
  return value;
}

/**
 * An object of the resource. In a list the server leaves its kind out. Who wrote which field (`managedFields`) is half of
 * an object's bytes and read by nobody here; the server keeps it when it is not sent.
 */
export function storedObject<T extends KubeObject>(
  resource: Resource<T>,
  value: unknown,
): Stored<T> {
  if (!isObject(value)) throw new TrineError("unavailable", `${resource.plural}: not an object`);
  const { metadata } = value;
  const { kind = resource.kind, apiVersion = apiVersionOf(resource) } = value;
  const kept = isObject(metadata) ? withoutManagers(metadata) : {};
  return { ...value, kind, apiVersion, metadata: kept } as unknown as Stored<T>;
}

/** Made anew: V8 keeps an object that a field was deleted from as a hash table, which takes several times the memory. */
function withoutManagers(metadata: Fields): Fields {
  return Object.fromEntries(Object.entries(metadata).filter(([name]) => name !== "managedFields"));
}

/** The same of a list or a watch, where an object without name and version is none. */
export function listedObject<T extends KubeObject>(
  resource: Resource<T>,
  value: unknown,
): Stored<T> {
  const object = storedObject(resource, value);
  const { name, uid, resourceVersion }: Partial<Fields> = { ...object.metadata };
  if ([name, uid, resourceVersion].every((each) => typeof each === "string")) return object;
  throw new TrineError("unavailable", `${resource.plural}: an object without name, uid or version`);
}

export function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
