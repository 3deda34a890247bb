import { type Report, shown } from "../checks/report.ts";
import {
  IS_PLAIN,
  checkInteger,
  checkQuantity,
  checkString,
  isRecord,
  wrongType,
} from "./check-leaf.ts";
import type { ListNode, MapNode, Node, ObjectNode } from "./node.ts";

/**
 * Reports where `value` is not what `node` says, with the path of each fault. It refuses what the API server
 * refuses by the CRD, and fields that are not known, which the API server drops; rules are not judged here.
 */
export function checkShape(node: Node, value: unknown, at: string, report: Report): void {
  if (value === null) {
    if (node.nullable !== true) wrongType(node, value, at, report);
    return;
  }
  switch (node.kind) {
    case "string":
      checkString(node, value, at, report);
      return;
    case "integer":
      checkInteger(node, value, at, report);
      return;
    case "list":
      checkList(node, value, at, report);
      return;
    case "map":
      checkMap(node, value, at, report);
      return;
    case "object":
      checkObject(node, value, at, report);
      return;
    case "quantity":
      checkQuantity(node, value, at, report);
      return;
    default:
      if (!IS_PLAIN[node.kind](value)) wrongType(node, value, at, report);
  }
}

function checkList(node: ListNode, value: unknown, at: string, report: Report): void {
  if (!Array.isArray(value)) {
    wrongType(node, value, at, report);
    return;
  }
  const { minItems = 0, maxItems = Infinity } = node;
  if (value.length < minItems) report.invalid(at, `must have ${minItems} items at least`);
  if (value.length > maxItems) {
    report.add("FieldValueTooMany", at, `must have ${maxItems} items at most`);
    return;
  }
  value.forEach((item: unknown, index) => {
    checkShape(node.item, item, `${at}[${index}]`, report);
  });
  if (node.merge === "set" || node.merge === "map") checkDoubles(node, value, at, report);
}

/** Two items of a set that are equal, or two of a map with equal keys. */
function checkDoubles(node: ListNode, items: readonly unknown[], at: string, report: Report): void {
  const seen = new Set<string>();
  items.forEach((item, index) => {
    const key = JSON.stringify(node.merge === "set" ? item : keyOf(node, item));
    if (seen.has(key)) report.duplicate(`${at}[${index}]`, `repeats ${shown(item)}`);
    seen.add(key);
  });
}

function keyOf({ keys = [], item: of }: ListNode, item: unknown): unknown[] {
  if (!isRecord(item)) return [item];
  const fields = of.kind === "object" ? of.fields : {};
  return keys.map((key) => item[key] ?? fields[key]?.default);
}

function checkMap(node: MapNode, value: unknown, at: string, report: Report): void {
  if (!isRecord(value)) {
    wrongType(node, value, at, report);
    return;
  }
  for (const [key, item] of Object.entries(value)) {
    checkShape(node.value, item, `${at}.${key}`, report);
  }
}

function checkObject(node: ObjectNode, value: unknown, at: string, report: Report): void {
  if (!isRecord(value)) {
    wrongType(node, value, at, report);
    return;
  }
  const inner = (name: string): string => (at === "" ? name : `${at}.${name}`);
  for (const name of node.needed) {
    const preset = node.fields[name]?.default !== undefined;
    if (!preset && isAbsent(node.fields[name], value[name])) report.required(inner(name));
  }
  for (const [name, item] of Object.entries(value)) {
    const field = Object.hasOwn(node.fields, name) ? node.fields[name] : undefined;
    if (isAbsent(field, item)) continue;
    if (field !== undefined) checkShape(field, item, inner(name), report);
    else if (node.open !== true) report.invalid(inner(name), "is no field that is known");
  }
}

/** The API server drops a field that is `null` and may not be: it has seen none. */
function isAbsent(node: Node | undefined, value: unknown): boolean {
  return value === undefined || (value === null && node !== undefined && node.nullable !== true);
}
