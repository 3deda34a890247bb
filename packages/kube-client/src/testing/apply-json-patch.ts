import { isDeepStrictEqual } from "node:util";
import { TrineError } from "@trine/base";
import type { JsonPatchOperation } from "../json-patch.ts";

type Container = Record<string, unknown> | unknown[];

/** The document after all operations, as the API server applies them; kind `conflict` where a `test` fails. */
export function applyJsonPatch(
  document: unknown,
  operations: readonly JsonPatchOperation[],
): unknown {
  const root = { document: structuredClone(document) };
  for (const operation of operations) {
    const names = ["document", ...namesOf(operation.path)];
    const last = names.pop() ?? "";
    apply(operation, parentOf(root, names, operation.path), last);
  }
  return root.document;
}

function namesOf(path: string): string[] {
  if (path === "") return [];
  return path
    .slice(1)
    .split("/")
    .map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function parentOf(root: Container, names: readonly string[], path: string): Container {
  let value: unknown = root;
  for (const name of names) value = isContainer(value) ? fieldOf(value, name) : undefined;
  if (!isContainer(value)) throw new TrineError("invalid", `patch: nothing is above ${path}`);
  return value;
}

function isContainer(value: unknown): value is Container {
  return typeof value === "object" && value !== null;
}

function fieldOf(container: Container, name: string): unknown {
  return Array.isArray(container) ? container[Number(name)] : container[name];
}

function apply(operation: JsonPatchOperation, parent: Container, name: string): void {
  const there = fieldOf(parent, name);
  if (operation.op === "test") {
    if (isDeepStrictEqual(there, operation.value ?? undefined)) return;
    throw new TrineError("conflict", `patch: ${operation.path} is not what it was`);
  }
  if (operation.op !== "add" && there === undefined) {
    throw new TrineError("invalid", `patch: nothing is at ${operation.path}`);
  }
  if (Array.isArray(parent)) applyToList(operation, parent, name);
  else if (operation.op === "remove") Reflect.deleteProperty(parent, name);
  else parent[name] = structuredClone(operation.value);
}

function applyToList(operation: JsonPatchOperation, list: unknown[], name: string): void {
  const at = name === "-" ? list.length : Number(name);
  if (operation.op === "remove") list.splice(at, 1);
  else list.splice(at, operation.op === "add" ? 0 : 1, structuredClone(operation.value));
}
