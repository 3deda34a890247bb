import { metadata } from "./metadata.ts";
import { type Schema, object, string } from "./schema.ts";

/** A column of `kubectl get`. */
export interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "boolean" | "date";
  /** A JSONPath below the object. */
  readonly path: string;
  /** Only with `-o wide`. */
  readonly wide?: boolean;
}

export interface Version {
  readonly name: string;
  /** Served with a warning. */
  readonly deprecated?: boolean;
}

/** A kind of the API: what a CustomResourceDefinition says of it. */
export interface Kind<T = unknown> {
  readonly group: string;
  readonly name: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly scope: "Namespaced" | "Cluster";
  /** All are served, of one schema; the first is stored. */
  readonly versions: readonly [Version, ...Version[]];
  /** Whether `kubectl get all` shows it. */
  readonly inAll: boolean;
  readonly status: boolean;
  readonly scale: boolean;
  /** Empty: kubectl's own. */
  readonly columns: readonly Column[];
  readonly schema: Schema<T>;
}

type Fields = Parameters<typeof object>[0];

/** A schema of whole objects: what every object has, and its own fields. */
// eslint-disable-next-line @typescript-eslint/explicit-module-boundary-types -- the type is inferred from the fields
export function whole<F extends Fields>(fields: F) {
  return object({ apiVersion: string(), kind: string(), metadata: metadata(), ...fields });
}

type Rest = Pick<Kind, "shortNames" | "versions"> &
  Partial<Omit<Kind, "group" | "name" | "schema">>;

export function kind<T>(group: string, name: string, schema: Schema<T>, rest: Rest): Kind<T> {
  const plural = `${name.toLowerCase()}s`;
  const { scope = "Namespaced" } = rest;
  const inAll = scope === "Namespaced";
  const usual = { plural, scope, inAll, status: false, scale: false, columns: [] };
  return { ...usual, ...rest, group, name, schema };
}

/** `plural.group`: the name of the CRD. */
export function crdName({ plural, group }: Kind): string {
  return `${plural}.${group}`;
}
