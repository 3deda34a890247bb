import { isRecord } from "./check-leaf.ts";
import type { Node } from "./node.ts";

/** A copy of a value whose shape is right without the fields that are `null` and may not be, as the API server stores it. */
export function withoutNulls(node: Node, value: unknown): unknown {
  if (node.kind === "list" && Array.isArray(value)) {
    return value.map((item: unknown) => withoutNulls(node.item, item));
  }
  if (node.kind === "map" && isRecord(value)) {
    const items = Object.entries(value).map(([key, item]) => [key, withoutNulls(node.value, item)]);
    return Object.fromEntries(items) as unknown;
  }
  if (node.kind !== "object" || !isRecord(value)) return value;
  const kept = Object.entries(value).flatMap(([name, item]) => {
    const field = Object.hasOwn(node.fields, name) ? node.fields[name] : undefined;
    if (field === undefined) return [[name, item] as const];
    if (item === null && field.nullable !== true) return [];
    return [[name, withoutNulls(field, item)] as const];
  });
  return Object.fromEntries(kept);
}
