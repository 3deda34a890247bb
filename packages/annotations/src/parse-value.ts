import { parseDocument } from "yaml";
import { parseDisks } from "./disk-list.ts";
import type { DiskSetting } from "./disk-list.ts";
import { parseChoices, parseFields, parseWords } from "./parse-fields.ts";
import { formatQuantity, parseQuantity } from "./quantity.ts";
import { ALLOWED_INTERFACES, parseInterfaces } from "./interface-list.ts";
import { ignitionProblem } from "./ignition.ts";
import { parseSource, parseUserSource } from "./seed-source.ts";
import { bad, good } from "./parse-result.ts";
import type { ParseResult } from "./parse-result.ts";
import { readSshKeys } from "./ssh-key.ts";
import { NETWORK_BINDINGS } from "./value-types.ts";
import type {
  NetworkBinding,
  NetworkBindings,
  ParsedValues,
  PodPort,
  ValueType,
} from "./value-types.ts";

const DNS_LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** How cloud-init and cloudbase-init tell kinds of user-data apart; anything else they ignore. */
const USER_DATA_STARTS = ["#", "Content-Type:", "MIME-Version:", "rem cmd", "<"];
/** A mapping of fields, each a word or two. */
const MAX_FIELDS_BYTES = 16 * 1024;
/** Aliases a YAML mapping may expand: enough for anchors, too few for a "billion laughs" text. */
const MAX_YAML_ALIASES = 50;

type Parsers = {
  readonly [K in ValueType["type"]]: (
    text: string,
    type: Extract<ValueType, { type: K }>,
  ) => ParseResult<ParsedValues[K]>;
};

const PARSERS: Parsers = {
  integer: (text, { min, max }) => {
    const value = /^-?\d{1,10}$/.test(text) ? Number(text) : undefined;
    return value === undefined || value < min || value > max ? bad() : good(value);
  },
  quantity: (text, { min, max }) => {
    const value = parseQuantity(text);
    return value === undefined || value < min || value > max ? bad() : good(Number(value));
  },
  choice: (text, { choices }) => (choices.includes(text) ? good(text) : bad()),
  switch: (text) => (text === "on" || text === "off" ? good(text === "on") : bad()),
  word: (text, { pattern }) => (pattern.test(text) ? good(text) : bad()),
  uuid: (text) => (UUID.test(text.toLowerCase()) ? good(text.toLowerCase()) : bad()),
  fields: (text, { fields }) =>
    withMapping(text, (mapping) => parseFields(mapping, fields, parseValue, allowedText)),
  choices: (text, type) => withMapping(text, (mapping) => parseChoices(mapping, type)),
  words: (text, type) => withMapping(text, (mapping) => parseWords(mapping, type)),
  disks: readDisks,
  userData: (text, { maxBytes }) => {
    const size = Buffer.byteLength(text);
    if (size > maxBytes) return bad(`has ${size} bytes`);
    // Guests that know Ignition read a ConfigDrive's user-data as its config.
    const isKnown = USER_DATA_STARTS.some((start) => text.startsWith(start));
    return isKnown || ignitionProblem(text) === undefined ? good(text) : bad();
  },
  mapping: parseMapping,
  ignition: parseIgnition,
  source: (text) => {
    const source = parseSource(text);
    return source === undefined ? bad() : good(source);
  },
  sources: (text, type) => readEach(text, type, parseSource),
  userSources: (text, type) => readEach(text, type, parseUserSource),
  sshKeys: parseSshKeys,
  bindings: parseBindings,
  interfaces: (text, type) => withMapping(text, (mapping) => parseInterfaces(mapping, type)),
  ports: parsePorts,
};

/** What other systems have under these names, and what to use instead. */
const OTHER_BINDINGS: Readonly<Record<string, string>> = {
  bridge: "which tap is here: the guest has the pod's own MAC and addresses",
  slirp: "which passt replaces",
  sriov: "which is no binding here: a device plugin's device is passed through by itself",
};

/** Parses `text` as `type`. Blanks around single values are the caller's to trim. */
export function parseValue(text: string, type: ValueType): ParseResult {
  const parser = PARSERS[type.type] as (text: string, type: ValueType) => ParseResult;
  return parser(text, type);
}

/** One phrase for messages and the reference. */
export function allowedText(type: ValueType): string {
  switch (type.type) {
    case "integer":
      return `a whole number from ${type.min} to ${type.max}`;
    case "quantity":
      return `a quantity from ${formatQuantity(type.min)} to ${formatQuantity(type.max)}, e.g. 512Mi`;
    case "choice":
      return quoted(type.choices);
    case "switch":
      return '"on" or "off"';
    case "word":
      return type.allowed;
    case "uuid":
      return "a UUID, 8-4-4-4-12 hexadecimal digits";
    case "fields":
      return `a YAML or JSON mapping with any of ${Object.keys(type.fields).join(", ")}`;
    case "choices":
      return `a YAML or JSON mapping of at most ${type.maxCount} ${type.names}, each to ${type.choices.join(", ")}`;
    case "words":
      return `a YAML or JSON mapping of at most ${type.maxCount}: ${type.allowed}`;
    case "disks":
      return `a YAML or JSON list of at most ${type.maxCount} disks, at most ${type.maxBytes} bytes; see docs/reference/volumes.md`;
    case "userData":
      return `text that starts with #cloud-config, #!, Content-Type: or another header of cloud-init, or an Ignition config, at most ${type.maxBytes} bytes`;
    case "mapping":
      return `a YAML or JSON mapping, at most ${type.maxBytes} bytes`;
    case "ignition":
      return `an Ignition config in JSON ({"ignition": {"version": …}, …}), at most ${type.maxBytes} bytes`;
    case "source":
      return "/PATH on a volume of the machine's container, configmap/NAME[/KEY] or secret/NAME[/KEY]";
    case "sources":
      return `/PATH on a volume of the machine's container, configmap/NAME[/KEY] or secret/NAME[/KEY]; at most ${type.maxCount}, separated by commas`;
    case "userSources":
      return `USER=/PATH, USER=configmap/NAME[/KEY] or USER=secret/NAME[/KEY]; at most ${type.maxCount}, separated by commas`;
    case "sshKeys":
      return `SSH public keys ("type base64 comment"), one a line, at most ${type.maxCount}`;
    case "bindings":
      return `${quoted(NETWORK_BINDINGS)}, or INTERFACE=BINDING for each of at most ${type.maxCount}, separated by commas`;
    case "interfaces":
      return `a YAML or JSON mapping of at most ${type.maxCount} interfaces of the pod, ${ALLOWED_INTERFACES}`;
    case "ports":
      return `CONTAINER=PORT or CONTAINER=PORT/udp for each of at most ${type.maxCount}, separated by commas`;
  }
}

function quoted(words: readonly string[]): string {
  return words.map((word) => `"${word}"`).join(" or ");
}

function withMapping<T>(
  text: string,
  read: (mapping: Readonly<Record<string, unknown>>) => ParseResult<T>,
): ParseResult<T> {
  const mapping = parseMapping(text, { maxBytes: MAX_FIELDS_BYTES });
  return mapping.ok ? read(mapping.value) : mapping;
}

function readDisks(
  text: string,
  type: Extract<ValueType, { type: "disks" }>,
): ParseResult<readonly DiskSetting[]> {
  const result = parseDisks(text, type);
  return "why" in result ? bad(result.why) : good(result.disks);
}

/** A list with commas, each entry read alone. */
function readEach<T>(
  text: string,
  { maxCount }: { maxCount: number },
  read: (entry: string) => T | undefined,
): ParseResult<readonly T[]> {
  const entries = text.split(",").map((entry) => read(entry.trim()));
  if (entries.length > maxCount) return bad(`has ${entries.length} entries`);
  const known = entries.filter((entry) => entry !== undefined);
  return known.length === entries.length ? good(known) : bad();
}

/** `masquerade` alone is every interface's. */
function parseBindings(
  text: string,
  { maxCount }: { maxCount: number },
): ParseResult<NetworkBindings> {
  const bindings = new Map<string, NetworkBinding>();
  const entries = text.split(",").map((entry) => entry.trim());
  if (entries.length > maxCount) return bad(`has ${entries.length} entries`);
  for (const entry of entries) {
    const named = /^([A-Za-z0-9][A-Za-z0-9._-]{0,14})=(.*)$/.exec(entry);
    const [name = "*", binding = entry] = named?.slice(1) ?? [];
    if (Object.hasOwn(OTHER_BINDINGS, binding)) {
      return bad(`names ${binding}, ${OTHER_BINDINGS[binding] ?? ""}`);
    }
    const known = NETWORK_BINDINGS.find((each) => each === binding);
    if (known === undefined) return bad();
    if (bindings.has(name)) return bad("has an interface twice");
    bindings.set(name, known);
  }
  return good(Object.fromEntries(bindings));
}

function parsePorts(text: string, { maxCount }: { maxCount: number }): ParseResult<PodPort[]> {
  const ports = new Map<string, PodPort>();
  const entries = text.split(",").map((entry) => entry.trim());
  if (entries.length > maxCount) return bad(`has ${entries.length} ports`);
  for (const entry of entries) {
    if (entry === "") continue;
    const [, container = "", digits = "", protocol = "tcp"] =
      /^([a-z0-9-]+)=([1-9]\d{0,4})(?:\/(tcp|udp))?$/.exec(entry) ?? [];
    const port = Number(digits);
    if (!DNS_LABEL.test(container) || port < 1 || port > 65_535) return bad();
    const key = `${port}/${protocol}`;
    const other = ports.get(key);
    if (other !== undefined) {
      return bad(`gives port ${key} to ${other.container} and to ${container}`);
    }
    ports.set(key, { container, port, protocol: protocol === "udp" ? "udp" : "tcp" });
  }
  return good([...ports.values()]);
}

function parseMapping(
  text: string,
  { maxBytes }: { maxBytes: number },
): ParseResult<Record<string, unknown>> {
  const size = Buffer.byteLength(text);
  if (size > maxBytes) return bad(`has ${size} bytes`);
  const document = parseDocument(text, { maxAliasCount: MAX_YAML_ALIASES } as object);
  const [error] = document.errors;
  if (error !== undefined) return bad(`is not YAML: ${error.code} at character ${error.pos[0]}`);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MAX_YAML_ALIASES });
  } catch {
    return bad("has too many YAML aliases");
  }
  const isMapping = typeof value === "object" && value !== null && !Array.isArray(value);
  return isMapping ? good(value as Record<string, unknown>) : bad("is not a mapping");
}

/** Its own schema is the guest's to apply; without a version no guest would read it. */
function parseIgnition(text: string, { maxBytes }: { maxBytes: number }): ParseResult<string> {
  const size = Buffer.byteLength(text);
  if (size > maxBytes) return bad(`has ${size} bytes`);
  const problem = ignitionProblem(text);
  return problem === undefined ? good(text) : bad(problem);
}

function parseSshKeys(text: string, { maxCount }: { maxCount: number }): ParseResult<string[]> {
  const read = readSshKeys(text, maxCount);
  return "why" in read ? bad(read.why) : good(read.keys);
}
