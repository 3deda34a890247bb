import { bad, good } from "./parse-result.ts";
import type { ParseResult } from "./parse-result.ts";
import type { Fields, ParsedValues, ScalarType, ValueType } from "./value-types.ts";

type Mapping = Readonly<Record<string, unknown>>;

const SHOWN_CHARACTERS = 40;

/** Reads a mapping whose fields are all known; `parse` and `allowed` are those of a value of one word. */
export function parseFields(
  mapping: Mapping,
  fields: Fields,
  parse: (text: string, type: ScalarType) => ParseResult,
  allowed: (type: ScalarType) => string,
): ParseResult<ParsedValues["fields"]> {
  const values: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(mapping)) {
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (field === undefined) {
      return bad(`has ${shown(name)}: ${Object.keys(fields).join(", ")} are its fields`);
    }
    const text = wordOf(value);
    const result = text === undefined ? bad() : parse(text, field);
    if (!result.ok) return bad(`has ${name} ${shown(value)}: ${allowed(field)}`);
    values[name] = result.value as string | number | boolean;
  }
  return good(values);
}

/** Reads a mapping of names, each to one of the choices. */
export function parseChoices(
  mapping: Mapping,
  { choices, pattern, names, maxCount }: Extract<ValueType, { type: "choices" }>,
): ParseResult<ParsedValues["choices"]> {
  const entries = Object.entries(mapping);
  if (entries.length > maxCount) return bad(`has ${entries.length} ${names}`);
  for (const [name, value] of entries) {
    if (!pattern.test(name)) return bad(`has ${shown(name)}, which is none of ${names}`);
    if (!choices.some((choice) => choice === value)) {
      return bad(`has ${name} ${shown(value)}: ${choices.join(", ")}`);
    }
  }
  return good(Object.fromEntries(entries) as Record<string, string>);
}

/** Reads a mapping of names, each to a word of its own. */
export function parseWords(
  mapping: Mapping,
  { names, words, maxCount }: Extract<ValueType, { type: "words" }>,
): ParseResult<ParsedValues["words"]> {
  const entries = Object.entries(mapping);
  if (entries.length > maxCount) return bad(`has ${entries.length} entries`);
  const seen = new Set<unknown>();
  for (const [name, value] of entries) {
    if (!names.test(name)) return bad(`has the name ${shown(name)}`);
    if (typeof value !== "string" || !words.test(value)) return bad(`has ${name} ${shown(value)}`);
    if (seen.has(value)) return bad(`has ${shown(value)} twice`);
    seen.add(value);
  }
  return good(Object.fromEntries(entries) as Record<string, string>);
}

/** As a person writes it: YAML makes numbers and booleans of what an annotation has as text. */
function wordOf(value: unknown): string | undefined {
  if (typeof value === "boolean") return value ? "on" : "off";
  if (typeof value === "number") return String(value);
  return typeof value === "string" ? value : undefined;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) as string | undefined;
  return (text ?? typeof value).slice(0, SHOWN_CHARACTERS);
}
