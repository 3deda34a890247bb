import type { Node } from "../schema/node.ts";
import type { Describe } from "../schema/open-api.ts";
import { COMMON_TEXTS, KIND_TEXTS } from "./kinds.ts";
import { FIELD_TEXTS } from "./texts.ts";

interface Root {
  readonly name: string;
  readonly schema: { readonly node: Node };
}

/** The object at a path below a node, its items' of a list. Throws for a path that is none. */
export function nodeAt(root: Node, path: string): Node {
  let at = root;
  for (const name of path.split(".")) {
    const next = at.kind === "object" ? at.fields[name] : undefined;
    if (next === undefined) throw new Error(`there is no field ${name} on the way to ${path}`);
    at = next.kind === "list" ? next.item : next;
  }
  return at;
}

/** What is said of a kind, and of the objects in it. Objects that several kinds have are described once. */
export function descriptions(kinds: readonly Root[]): {
  readonly ofKind: (name: string) => string | undefined;
  readonly ofFields: Describe;
} {
  const roots = new Map(kinds.map(({ name, schema }) => [name, schema.node]));
  const texts = new Map<Node, Readonly<Record<string, string>>>(
    kinds.map(({ schema }) => [schema.node, COMMON_TEXTS]),
  );
  for (const { kind, path, texts: said } of FIELD_TEXTS) {
    const root = roots.get(kind);
    if (root !== undefined) texts.set(nodeAt(root, path), said);
  }
  return { ofKind: (name) => KIND_TEXTS[name], ofFields: (node) => texts.get(node) };
}
