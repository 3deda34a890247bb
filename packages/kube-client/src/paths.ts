import { TrineError } from "@trine/base";
import type { Selection } from "./kube-api.ts";
import type { Resource } from "./resource.ts";

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** The path of a resource, or of one object of it, below the server. */
export function pathOf(
  resource: Resource,
  at: { readonly namespace?: string; readonly name?: string; readonly subresource?: string },
  query: Query = {},
): string {
  const { group, version, plural, namespaced } = resource;
  const root = group === "" ? ["api", version] : ["apis", group, version];
  const within =
    namespaced && at.namespace !== undefined ? ["namespaces", part(plural, at.namespace)] : [];
  const named = at.name === undefined ? [] : [part(plural, at.name)];
  const below = at.subresource === undefined ? [] : [at.subresource];
  const path = [...root, ...within, plural, ...named, ...below].join("/");
  return `/${path}${queryOf(query)}`;
}

/** A name is one segment: nothing that is in it leads elsewhere. */
function part(what: string, name: string): string {
  if (name === "" || name === "." || name === ".." || name.length > 253) {
    throw new TrineError("invalid", `${what}: ${JSON.stringify(name.slice(0, 64))} is no name`);
  }
  return encodeURIComponent(name);
}

export function selectionQuery({ labelSelector, fieldSelector }: Selection): Query {
  return { labelSelector, fieldSelector };
}

function queryOf(query: Query): string {
  const words = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`],
  );
  return words.length === 0 ? "" : `?${words.join("&")}`;
}
