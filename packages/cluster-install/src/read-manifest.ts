import { TrineError } from "@trine/base";
import type { KubeObject } from "@trine/kube-client";
import { parseAllDocuments } from "yaml";

/** Objects of a file with many documents. */
export function readManifest(what: string, text: string): readonly KubeObject[] {
  const documents = parseAllDocuments(text);
  if (documents.length === 0) throw new TrineError("invalid", `${what}: is empty`);
  return documents.map((document, n) => {
    const [error] = document.errors;
    if (error !== undefined) throw new TrineError("invalid", `${what}: ${error.message}`);
    const object: unknown = document.toJS();
    if (!isObject(object)) throw new TrineError("invalid", `${what}: document ${n} is no object`);
    return object;
  });
}

function isObject(value: unknown): value is KubeObject {
  if (typeof value !== "object" || value === null) return false;
  const { kind, metadata } = value as { kind?: unknown; metadata?: { name?: unknown } };
  return typeof kind === "string" && typeof metadata?.name === "string";
}
