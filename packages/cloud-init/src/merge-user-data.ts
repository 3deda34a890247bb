import type { Tags } from "yaml";
import { jsonAsYaml } from "./json-yaml.ts";
import { requireValid } from "./require-valid.ts";
import { isCloudConfig } from "./user-data.ts";
import { MAX_PARSED_CHARS, parseYaml } from "./yaml-text.ts";

/** Cloud-config as a mapping, its values plain data. */
type CloudConfig = ReadonlyMap<string, unknown>;

const MAX_DEPTH = 64;
const BOOL = "tag:yaml.org,2002:bool";
const TRUE = /^(?:yes|Yes|YES|true|True|TRUE|on|On|ON)$/;
const FALSE = /^(?:no|No|NO|false|False|FALSE|off|Off|OFF)$/;
/** Those whose values JSON does not have: a date stays the text it is written as. */
const NOT_JSON = ["tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary"];

/** Reads cloud-config, its header included; kind `invalid`, naming `key`. */
export function readCloudConfig(text: string, key: string): CloudConfig {
  requireValid(isCloudConfig(text), key, "is not #cloud-config, and nothing else can be merged");
  const value = readValue(text, key);
  const isMapping = value === null || isPlainMapping(value);
  requireValid(isMapping, key, "#cloud-config is followed by something else than `key: value`");
  return new Map(Object.entries(value ?? {}));
}

/** Cloud-config of a text for each key. As long as one text may be, they may be together: all are read in one turn. */
export function cloudConfigOf(texts: ReadonlyMap<string, string>, key: string): CloudConfig {
  requireParsable(
    [...texts.values()].reduce((sum, { length }) => sum + length, 0),
    key,
  );
  return new Map([...texts].map(([name, text]) => [name, readValue(text, `${key} ${name}`)]));
}

/** Virtlet's rule: mappings key by key, lists one after the other, of all else the second. */
export function mergeCloudConfig(base: CloudConfig, over: CloudConfig): CloudConfig {
  const merged = new Map(base);
  for (const [name, value] of over) {
    merged.set(name, base.has(name) ? mergeValues(base.get(name), value) : value);
  }
  return merged;
}

export function cloudConfigText(config: CloudConfig): string {
  return `#cloud-config\n${jsonAsYaml(Object.fromEntries(config)).toString("utf8")}`;
}

function mergeValues(base: unknown, over: unknown): unknown {
  if (Array.isArray(base) && Array.isArray(over))
    return [...(base as unknown[]), ...(over as unknown[])];
  if (!isPlainMapping(base) || !isPlainMapping(over)) return over;
  const [under, above] = [base, over].map((each) => new Map(Object.entries(each)));
  if (under === undefined || above === undefined) return over;
  return Object.fromEntries(mergeCloudConfig(under, above));
}

/** As YAML 1.1, which cloud-init reads: there 0644 is a mode and `yes` is true. */
function readValue(text: string, key: string): unknown {
  requireParsable(text.length, key);
  const parsed = parseYaml(text, key, { version: "1.1", customTags: knownTags });
  const value = parsed.toValue();
  requirePlain(value, key, 0);
  return value;
}

function requireParsable(chars: number, key: string): void {
  const size = `${chars} characters: only ${MAX_PARSED_CHARS} are merged`;
  requireValid(chars <= MAX_PARSED_CHARS, key, size);
}

/** As cloud-init's reader has them: it takes neither `y` nor `n` for a truth value. */
function knownTags(tags: Tags): Tags {
  return tags.flatMap((tag) => {
    if (typeof tag === "string") return tag;
    if (NOT_JSON.includes(tag.tag)) return [];
    if (tag.tag !== BOOL || tag.collection !== undefined) return tag;
    return { ...tag, test: tag.identify?.(true) === true ? TRUE : FALSE };
  });
}

/** What JSON would change on its way to the guest is not taken. */
function requirePlain(value: unknown, key: string, depth: number): void {
  requireValid(depth <= MAX_DEPTH, key, "nested too deeply");
  if (typeof value === "number") {
    const isExact = Number.isInteger(value) ? Number.isSafeInteger(value) : Number.isFinite(value);
    requireValid(isExact, key, `the number ${value} cannot be kept: quote it`);
  }
  if (typeof value !== "object" || value === null) return;
  const isPlain = Array.isArray(value) || isPlainMapping(value);
  requireValid(isPlain, key, "a YAML tag that cannot be merged");
  for (const each of Object.values(value)) requirePlain(each, key, depth + 1);
}

function isPlainMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
