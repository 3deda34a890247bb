import { TrineError } from "@trine/base";
import { SHOWN_CHARACTERS, shown } from "./annotation-problem.ts";
import type { AnnotationProblem } from "./annotation-problem.ts";
import { contradictions } from "./contradictions.ts";
import { MACHINE_ANNOTATIONS } from "./machine-annotations.ts";
import type { MachineSettings } from "./machine-annotations.ts";
import { MICROVM_ANNOTATIONS } from "./microvm-annotations.ts";
import type { MicrovmSettings } from "./microvm-annotations.ts";
import { nearMiss } from "./near-miss.ts";
import { allowedText, parseValue } from "./parse-value.ts";
import { VIRTLET_MEANINGS } from "./virtlet-meanings.ts";
import type { VirtletMeaning } from "./virtlet-meanings.ts";
import { UNSUPPORTED_VIRTLET } from "./virtlet.ts";
import type { AnnotationSpec, ValueType, VirtletAlias } from "./value-types.ts";

const PREFIX = "trine.dev/";
const VIRTLET_PREFIX = "Virtlet";
/** Kubernetes allows 256 KiB of annotations on an object; more never came from a Pod. */
const MAX_BYTES = 256 * 1024;
/** More problems than this in one answer help nobody. */
const MAX_PROBLEMS = 20;
/** Texts that are taken as they are, blanks at their ends included. */
const EXACT: ReadonlySet<ValueType["type"]> = new Set(["userData", "mapping", "ignition", "disks"]);

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
    for (const one of readAll(schema, key, text)) {
      if ("why" in one) problems.push(one);
      else given.push(one);
    }
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

/** An annotation of Virtlet may be several of ours: each is read as if it had been given, under Virtlet's name. */
function readAll(schema: Schema, key: string, text: string): (Given | AnnotationProblem)[] {
  const meaning = schema === MACHINE ? meaningOf(key) : undefined;
  if (meaning === undefined) return [readOne(schema, key, text)];
  const { allowed } = meaning;
  const said = { key, value: shown(text), allowed };
  const result = meaning.read(text.trim());
  if ("why" in result) return [{ ...said, why: result.why }];
  return Object.entries(result.annotations).map(([ours, value]) => {
    const one = readOne(schema, ours, value);
    return "why" in one ? { ...one, key } : { ...one, key, alias: { name: key } };
  });
}

function meaningOf(key: string): VirtletMeaning | undefined {
  return Object.hasOwn(VIRTLET_MEANINGS, key) ? VIRTLET_MEANINGS[key] : undefined;
}

function readOne(schema: Schema, key: string, text: string): Given | AnnotationProblem {
  const known = schema.keys.get(key);
  if (known === undefined) return unknownKey(schema, key, text);
  const { spec, alias } = known;
  const exact = EXACT.has(spec.type) ? text : text.trim();
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
    return { key, value, why: `is not supported: ${instead}` };
  }
  const level = meaningOf(key) === undefined ? schema.foreign.get(key) : "vm";
  if (level !== undefined) return { key, value, why: `is for pods of level ${level} only` };
  const prefix = virtlet ? VIRTLET_PREFIX : PREFIX;
  const virtlets = [VIRTLET_MEANINGS, UNSUPPORTED_VIRTLET].flatMap((each) => Object.keys(each));
  const names = [...schema.keys.keys(), ...virtlets]
    .filter((name) => name.startsWith(prefix))
    .map((name) => name.slice(prefix.length));
  const near = nearMiss(key.slice(prefix.length), names);
  return {
    key: shownKey(key),
    value,
    // A newer control plane writes newer ones: nodes are upgraded first.
    why: `belongs to no known annotation of ${virtlet ? "Virtlet" : "this release"}`,
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

/** Control characters in a key would forge lines of the message. */
function shownKey(key: string): string {
  return JSON.stringify(key.slice(0, SHOWN_CHARACTERS)).slice(1, -1);
}
