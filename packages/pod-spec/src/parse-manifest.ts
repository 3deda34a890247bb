import { TrineError, messageOf, quote } from "@trine/base";
import { parseAllDocuments } from "yaml";
import { crossChecks } from "./cross-checks.ts";
import { ConfigMap, Pod, Secret } from "./pod-schema.ts";
import { check, toError } from "./problems.ts";

const MAX_BYTES = 8 * 1024 * 1024;
const MAX_OBJECTS = 256;
/** An alias used more often than this is an attack, not a manifest. */
const MAX_ALIASES = 100;

/** What a file says, checked; sources by `NAMESPACE/NAME`. */
export interface Manifest {
  readonly pods: readonly Pod[];
  readonly sources: Sources;
}

export type SourceData = ReadonlyMap<string, Buffer>;

export interface Sources {
  readonly configMaps: ReadonlyMap<string, SourceData>;
  readonly secrets: ReadonlyMap<string, SourceData>;
}

/**
 * Reads YAML (JSON is YAML) of one or more documents: v1 Pod, ConfigMap, Secret, and Lists of them. Kind
 * `invalid` with every field that is unknown, unsupported or wrong; `file` is named in the message.
 */
export function parseManifest(text: string, file: string): Manifest {
  const pods = new Map<string, Pod>();
  const configMaps = new Map<string, SourceData>();
  const secrets = new Map<string, SourceData>();
  for (const { value, what } of objectsOf(text, file)) {
    const kind = kindOfObject(value);
    if (kind === "Pod") {
      const pod = checked(Pod, value, what);
      const problems = crossChecks(pod);
      if (problems.length > 0) throw toError(what, problems);
      put(pods, pod, pod, what);
    } else if (kind === "ConfigMap") {
      const map = checked(ConfigMap, value, what);
      put(configMaps, map, dataOf(map.data, map.binaryData), what);
    } else if (kind === "Secret") {
      const secret = checked(Secret, value, what);
      put(secrets, secret, dataOf(secret.stringData, secret.data), what);
    } else {
      const message = `kind ${quote(kind)} is not run here; there are Pod, ConfigMap, Secret, List`;
      throw new TrineError("invalid", `${what}: ${message}`);
    }
  }
  if (pods.size === 0) throw new TrineError("invalid", `${file}: no Pod in it`);
  return { pods: [...pods.values()], sources: { configMaps, secrets } };
}

interface Given {
  readonly value: unknown;
  readonly what: string;
}

function objectsOf(text: string, file: string): Given[] {
  if (Buffer.byteLength(text) > MAX_BYTES) {
    throw new TrineError("invalid", `${file}: more than ${MAX_BYTES} bytes`);
  }
  const given: Given[] = [];
  const add = (value: unknown, what: string): void => {
    if (value === null || value === undefined) return;
    if (given.length >= MAX_OBJECTS) {
      throw new TrineError("invalid", `${file}: more than ${MAX_OBJECTS} objects`);
    }
    given.push({ value, what });
  };
  for (const [index, document] of documentsOf(text, file).entries()) {
    const what = `${file}, document ${index + 1}`;
    if (kindOfObject(document) !== "List") {
      add(document, what);
      continue;
    }
    const { items } = document as { items?: unknown };
    if (!Array.isArray(items)) throw new TrineError("invalid", `${what}: items is no list`);
    for (const [at, item] of items.entries()) add(item, `${what}, items[${at}]`);
  }
  return given;
}

function documentsOf(text: string, file: string): unknown[] {
  // Keys that come twice are an error of the parser's.
  const documents = parseAllDocuments(text, { version: "1.2", uniqueKeys: true });
  if (!Array.isArray(documents)) return [];
  return documents.map((document, index) => {
    const [error] = document.errors;
    const what = `${file}, document ${index + 1}`;
    if (error !== undefined) {
      const line = error.message.split("\n")[0] ?? "";
      throw new TrineError("invalid", `${what}: ${line.replace(/:$/, "")}`);
    }
    try {
      return document.toJS({ maxAliasCount: MAX_ALIASES }) as unknown;
    } catch (cause) {
      throw new TrineError("invalid", `${what}: ${messageOf(cause)}`, { cause });
    }
  });
}

function kindOfObject(value: unknown): string {
  if (typeof value !== "object" || value === null || !("kind" in value)) return "";
  return typeof value.kind === "string" ? value.kind : "";
}

function checked<S extends typeof Pod | typeof ConfigMap | typeof Secret>(
  schema: S,
  value: unknown,
  what: string,
): Extract<ReturnType<typeof check<S>>, { ok: unknown }>["ok"] {
  const result = check(schema, value);
  if ("ok" in result) return result.ok;
  const name = (value as { metadata?: { name?: unknown } } | null)?.metadata?.name;
  const named = typeof name === "string" ? ` ${quote(name)}` : "";
  throw toError(`${what} (${kindOfObject(value)}${named})`, result.problems);
}

function put<T>(
  map: Map<string, T>,
  { metadata }: { metadata: { name: string; namespace: string } },
  value: T,
  what: string,
): void {
  const key = `${metadata.namespace}/${metadata.name}`;
  if (map.has(key)) throw new TrineError("invalid", `${what}: ${key} comes twice`);
  map.set(key, value);
}

function dataOf(texts: Record<string, string>, binary: Record<string, string>): SourceData {
  const data = new Map<string, Buffer>();
  for (const [key, value] of Object.entries(binary)) data.set(key, Buffer.from(value, "base64"));
  for (const [key, value] of Object.entries(texts)) data.set(key, Buffer.from(value));
  return data;
}
