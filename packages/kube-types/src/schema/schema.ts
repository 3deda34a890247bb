import type { IntegerNode, ListNode, Node, NodeExtras, Rule, StringNode } from "./node.ts";

declare const OF: unique symbol;

/** A node together with the type of the values it describes. */
export interface Schema<T> {
  readonly node: Node;
  readonly [OF]?: T;
}

/** A field that must be there. Only `object` looks at it. */
interface Needed<T> extends Schema<T> {
  readonly needed: true;
}

export type Infer<S> = S extends Schema<infer T> ? T : never;

type Fields = Readonly<Record<string, Schema<unknown>>>;

type ObjectOf<F extends Fields> = {
  readonly [K in keyof F as F[K] extends Needed<unknown> ? K : never]: Infer<F[K]>;
} & {
  readonly [K in keyof F as F[K] extends Needed<unknown> ? never : K]?: Infer<F[K]>;
};

type Settings<N extends Node> = Omit<N, "kind" | "item" | "fields" | "needed" | "values" | "known">;

/** Marks a field of an object that must be there. */
export function needed<T>(schema: Schema<T>): Needed<T> {
  return { ...schema, needed: true };
}

export function nullable<T>(schema: Schema<T>): Schema<T | null> {
  return { node: { ...schema.node, nullable: true } };
}

export function string(settings: Settings<StringNode> = {}): Schema<string> {
  return { node: { kind: "string", ...settings } };
}

/** One of these, and the API server refuses all others. */
export function oneOf<const V extends string>(
  values: readonly V[],
  settings: Settings<StringNode> = {},
): Schema<V> {
  return { node: { kind: "string", values, ...settings } };
}

/**
 * Text with values that are known. Others get past the API server, as KubeVirt's own schemas let them:
 * the semantic checks judge them.
 */
export function known<const V extends string>(
  ...values: readonly V[]
): Schema<V | (string & Record<never, never>)> {
  return { node: { kind: "string", known: values } };
}

export function time(): Schema<string> {
  return { node: { kind: "string", format: "date-time" } };
}

/** A part of one with three decimals at most: `0.055`. */
export function fraction(): Schema<string> {
  return string({ pattern: "^(0(?:\\.\\d{1,3})?|1)$", example: "0.055" });
}

/** Base64. */
export function bytes(): Schema<string> {
  return { node: { kind: "string", format: "byte" } };
}

export function integer(settings: Settings<IntegerNode> = {}): Schema<number> {
  return { node: { kind: "integer", ...settings } };
}

export function int32(settings: Settings<IntegerNode> = {}): Schema<number> {
  return { node: { kind: "integer", format: "int32", ...settings } };
}

/** Beyond 2^53 the number is rounded by JSON.parse, as by every JavaScript client. */
export function int64(settings: Settings<IntegerNode> = {}): Schema<number> {
  return { node: { kind: "integer", format: "int64", ...settings } };
}

export function number(): Schema<number> {
  return { node: { kind: "number" } };
}

export function boolean(settings: NodeExtras = {}): Schema<boolean> {
  return { node: { kind: "boolean", ...settings } };
}

/** A Kubernetes quantity: `1Gi`, `500m`, `3`. */
export function quantity(settings: NodeExtras = {}): Schema<number | string> {
  return { node: { kind: "quantity", ...settings } };
}

export function intOrString(settings: NodeExtras = {}): Schema<number | string> {
  return { node: { kind: "intOrString", ...settings } };
}

export function opaque(): Schema<Readonly<Record<string, unknown>>> {
  return { node: { kind: "opaque" } };
}

export function list<T>(item: Schema<T>, settings: Settings<ListNode> = {}): Schema<readonly T[]> {
  return { node: { kind: "list", item: item.node, ...settings } };
}

export function map<T>(value: Schema<T>): Schema<Readonly<Record<string, T>>> {
  return { node: { kind: "map", value: value.node } };
}

export function object<F extends Fields>(
  fields: F,
  settings: NodeExtras & { readonly open?: boolean } = {},
): Schema<ObjectOf<F>> {
  const entries = Object.entries(fields);
  const names = entries.filter(([, field]) => "needed" in field).map(([name]) => name);
  return {
    node: {
      kind: "object",
      fields: Object.fromEntries(entries.map(([name, { node }]) => [name, node])),
      needed: new Set(names),
      ...settings,
    },
  };
}

/** The same with rules of the API server's expression language. */
export function ruled<T>(schema: Schema<T>, ...rules: readonly Rule[]): Schema<T> {
  return { node: { ...schema.node, rules } };
}
