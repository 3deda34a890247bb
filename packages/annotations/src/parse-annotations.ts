import { TrineError } from "@trine/base";
import { MACHINE_ANNOTATIONS } from "./machine-annotations.ts";
import type { MachineSettings } from "./machine-annotations.ts";
import { MICROVM_ANNOTATIONS } from "./microvm-annotations.ts";
import type { MicrovmSettings } from "./microvm-annotations.ts";
import { nearMiss } from "./near-miss.ts";
import { allowedText, parseValue } from "./parse-value.ts";
import { UNSUPPORTED_VIRTLET } from "./virtlet.ts";
import type { AnnotationSpec, VirtletAlias } from "./value-types.ts";

const PREFIX = "trine.dev/";
const VIRTLET_PREFIX = "Virtlet";
/** Kubernetes allows 256 KiB of annotations on an object; more never came from a Pod. */
const MAX_BYTES = 256 * 1024;
/** More problems than this in one answer help nobody. */
const MAX_PROBLEMS = 20;
const SHOWN_CHARACTERS = 80;

export interface AnnotationProblem {
  readonly key: string;
  /** As it was given, quoted and escaped, at most 80 characters; only its size for secret ones. */
  readonly value: string;
  readonly why: string;
  /** What would be accepted, or what to use instead. */
  readonly allowed?: string;
  /** The key that was probably meant. */
  readonly suggestion?: string;
}

interface Given {
  readonly key: string;
  readonly spec: AnnotationSpec;
  readonly alias?: VirtletAlias;
  readonly value: unknown;
}

/** The annotations of one level. */
interface Schema {
  readonly specs: readonly AnnotationSpec[];
  readonly keys: ReadonlyMap<string, { spec: AnnotationSpec; alias?: VirtletAlias }>;
  /** Keys of pods of other levels, with the level's name. */
  readonly foreign: ReadonlyMap<string, string>;
}

const MACHINE = schemaOf(MACHINE_ANNOTATIONS, []);
const MICROVM = schemaOf(MICROVM_ANNOTATIONS, MACHINE_ANNOTATIONS);

function schemaOf(specs: readonly AnnotationSpec[], others: readonly AnnotationSpec[]): Schema {
  return {
    specs,
    keys: new Map(
      specs.flatMap((spec) => [
        [spec.key, { spec }] as const,
        ...spec.virtlet.map((alias) => [alias.name, { spec, alias }] as const),
      ]),
    ),
    foreign: new Map(
      others.flatMap(({ key, virtlet, level }) =>
        [key, ...virtlet.map(({ name }) => name)].map((name) => [name, level] as const),
      ),
    ),
  };
}

/**
 * Reads the machine's settings from a pod's annotations. Foreign prefixes are ignored; all problems
 * come back at once. With problems the settings hold the defaults in the places concerned.
 */
export function checkMachineAnnotations(
  annotations: Readonly<Record<string, string>>,
  options: { readonly maxBytes?: number } = {},
): { settings: MachineSettings; problems: readonly AnnotationProblem[] } {
  const { settings, problems } = check(MACHINE, annotations, options);
  const machine = settings as MachineSettings;
  return { settings: machine, problems: [...problems, ...contradictions(machine)] };
}

/** Settings of a pod of level microvm; kind `invalid`, a line per problem. */
export function parseMicrovmAnnotations(
  annotations: Readonly<Record<string, string>>,
): MicrovmSettings {
  const { settings, problems } = check(MICROVM, annotations, {});
  if (problems.length > 0) throw toError(problems);
  return settings as MicrovmSettings;
}

function check(
  schema: Schema,
  annotations: Readonly<Record<string, string>>,
  options: { readonly maxBytes?: number },
): { settings: unknown; problems: AnnotationProblem[] } {
  const problems: AnnotationProblem[] = [];
  const ours = Object.entries(annotations).filter(
    ([key]) => key.startsWith(PREFIX) || key.startsWith(VIRTLET_PREFIX),
  );
  const size = ours.reduce((sum, [k, v]) => sum + Buffer.byteLength(k) + Buffer.byteLength(v), 0);
  const maxBytes = options.maxBytes ?? MAX_BYTES;
  if (size > maxBytes) {
    const allowed = `at most ${maxBytes} bytes`;
    problems.push({ key: `${PREFIX}*`, value: `(${size} bytes)`, why: "too much", allowed });
    return { settings: settingsOf(schema, []), problems };
  }

  const given: Given[] = [];
  for (const [key, text] of ours) {
    const one = readOne(schema, key, text);
    if ("why" in one) problems.push(one);
    else given.push(one);
  }
  problems.push(...disagreements(given));
  return { settings: settingsOf(schema, given), problems };
}

/** The same, for callers with no use for a half-right answer: kind `invalid`, a line per problem. */
export function parseMachineAnnotations(
  annotations: Readonly<Record<string, string>>,
  options: { readonly maxBytes?: number } = {},
): MachineSettings {
  const { settings, problems } = checkMachineAnnotations(annotations, options);
  if (problems.length > 0) throw toError(problems);
  return settings;
}

export function toError(problems: readonly AnnotationProblem[]): TrineError {
  const lines = problems.slice(0, MAX_PROBLEMS).map(lineOf);
  if (problems.length > MAX_PROBLEMS) lines.push(`and ${problems.length - MAX_PROBLEMS} more`);
  return new TrineError("invalid", lines.join("\n"));
}

function lineOf({ key, value, why, allowed, suggestion }: AnnotationProblem): string {
  const said = `annotation ${key}: ${value} ${why}`;
  const help = [
    ...(allowed === undefined ? [] : [`allowed: ${allowed}`]),
    ...(suggestion === undefined ? [] : [`did you mean ${suggestion}?`]),
  ];
  return [said, ...help].join("; ");
}

function readOne(schema: Schema, key: string, text: string): Given | AnnotationProblem {
  const known = schema.keys.get(key);
  if (known === undefined) return unknownKey(schema, key, text);
  const { spec, alias } = known;
  const exact =
    spec.type === "userData" || spec.type === "mapping" || spec.type === "disks"
      ? text
      : text.trim();
  const result = parseValue(alias?.translate?.(exact) ?? exact, spec);
  if (result.ok) return { ...known, key, value: result.value };
  return {
    key,
    value: shown(text, spec.secret),
    why: result.why ?? "is not allowed",
    allowed: alias?.allowed ?? allowedText(spec),
  };
}

function unknownKey(schema: Schema, key: string, text: string): AnnotationProblem {
  const virtlet = key.startsWith(VIRTLET_PREFIX);
  const value = shown(text, virtlet || /data|key|secret|password/i.test(key) ? true : undefined);
  const instead = Object.hasOwn(UNSUPPORTED_VIRTLET, key) ? UNSUPPORTED_VIRTLET[key] : undefined;
  if (instead !== undefined) {
    return { key, value, why: `is not supported yet: ${instead}` };
  }
  const level = schema.foreign.get(key);
  if (level !== undefined) return { key, value, why: `is for pods of level ${level} only` };
  const prefix = virtlet ? VIRTLET_PREFIX : PREFIX;
  const names = [...schema.keys.keys(), ...Object.keys(UNSUPPORTED_VIRTLET)]
    .filter((name) => name.startsWith(prefix))
    .map((name) => name.slice(prefix.length));
  const near = nearMiss(key.slice(prefix.length), names);
  return {
    key: shownKey(key),
    value,
    why: "belongs to no known annotation",
    ...(near === undefined ? {} : { suggestion: prefix + near }),
  };
}

/** An alias beside its twin is fine as long as both say the same. */
function disagreements(given: readonly Given[]): AnnotationProblem[] {
  return given.flatMap((one) => {
    if (one.alias === undefined) return [];
    const twin = given.find((other) => other.spec === one.spec && other !== one);
    if (twin === undefined || JSON.stringify(twin.value) === JSON.stringify(one.value)) return [];
    const value = shown(String(one.value), one.spec.secret);
    return [{ key: one.key, value, why: `says something else than ${twin.key}: keep one` }];
  });
}

function contradictions(settings: MachineSettings): AnnotationProblem[] {
  const { machine, disks, ports, rootSizeBytes } = settings;
  const found: AnnotationProblem[] = [];
  const size = disks.find(({ name }) => name === "root")?.sizeBytes;
  if (size !== undefined && rootSizeBytes !== undefined && size !== rootSizeBytes) {
    const why = "says another size of the root than trine.dev/root-size: keep one";
    found.push({ key: "trine.dev/disks", value: String(size), why });
  }
  if (machine === undefined && ports.length > 0) {
    const value = shown(ports.map(({ container, port }) => `${container}=${port}`).join(","));
    const why = "needs trine.dev/machine, to tell the machine's ports from the containers'";
    found.push({ key: "trine.dev/ports", value, why });
  }
  return found;
}

function settingsOf(schema: Schema, given: readonly Given[]): Record<string, unknown> {
  const settings: Record<string, unknown> = {};
  for (const spec of schema.specs) settings[spec.setting] = defaultOf(spec);
  // Aliases first: where both are given and differ, ours is what a lenient caller goes on with.
  const ordered = [...given].sort(
    (a, b) => Number(b.alias !== undefined) - Number(a.alias !== undefined),
  );
  for (const { spec, value } of ordered) settings[spec.setting] = value;
  return settings;
}

function defaultOf(spec: AnnotationSpec): unknown {
  if (spec.default === undefined) return undefined;
  const result = parseValue(spec.default, spec);
  if (!result.ok) throw new TrineError("internal", `${spec.key}: its default is not allowed`);
  return result.value;
}

function shown(text: string, secret?: true): string {
  if (secret === true) return `(${Buffer.byteLength(text)} bytes)`;
  const quoted = JSON.stringify(text.trim().slice(0, SHOWN_CHARACTERS));
  return quoted.length <= SHOWN_CHARACTERS ? quoted : `${quoted.slice(0, SHOWN_CHARACTERS - 1)}…`;
}

/** Control characters in a key would forge lines of the message. */
function shownKey(key: string): string {
  return JSON.stringify(key.slice(0, SHOWN_CHARACTERS)).slice(1, -1);
}
