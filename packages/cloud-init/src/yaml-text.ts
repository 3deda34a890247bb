import { LineCounter, isMap, isScalar, parseDocument } from "yaml";
import type { DocumentOptions, ParseOptions, SchemaOptions } from "yaml";
import { requireValid } from "./require-valid.ts";

/** Beyond this, reading YAML could hold up the daemon; measured with the worst input we could think of. */
export const MAX_PARSED_CHARS = 32 * 1024;
const MAX_ALIASES = 64;

/**
 * Reads YAML; kind `invalid`, naming `key`, for text that is none. `kind` says what it holds, and nothing is
 * expanded until `toValue`.
 */
export function parseYaml(
  text: string,
  key: string,
  options: Pick<ParseOptions & DocumentOptions & SchemaOptions, "version" | "customTags"> = {},
): { readonly kind: "mapping" | "empty" | "other"; toValue(): unknown } {
  const lines = new LineCounter();
  const document = readDocument(text, key, { ...options, lineCounter: lines });
  const [error] = document.errors;
  if (error !== undefined) {
    const { line } = lines.linePos(error.pos[0]);
    requireValid(false, key, `not YAML: line ${line}: ${error.message.slice(0, 200)}`);
  }
  const value = document.contents;
  const isEmpty = value === null || (isScalar(value) && value.value === null);
  return {
    kind: isMap(value) ? "mapping" : isEmpty ? "empty" : "other",
    toValue: () => expand(document, key),
  };
}

/** A mapping, or the text of one; kind `invalid`, naming `key`, for anything else. Nothing is an empty one. */
export function mappingOf(
  given: string | Readonly<Record<string, unknown>>,
  key: string,
): Readonly<Record<string, unknown>> {
  if (typeof given !== "string") return given;
  const size = `${given.length} characters; the limit is ${MAX_PARSED_CHARS}`;
  requireValid(given.length <= MAX_PARSED_CHARS, key, size);
  const parsed = parseYaml(given, key);
  requireValid(parsed.kind !== "other", key, "is not a mapping of `key: value`");
  return parsed.kind === "empty" ? {} : (parsed.toValue() as Record<string, unknown>);
}

type YamlDocument = ReturnType<typeof parseDocument>;

function readDocument(
  text: string,
  key: string,
  more: ParseOptions & DocumentOptions & SchemaOptions,
): YamlDocument {
  try {
    // cloud-init takes the last of two equal keys; refusing them is not our business. Pretty errors
    // cost time for each of them, and there may be thousands.
    const options = {
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: "silent",
      ...more,
    } as const;
    return parseDocument(text, options);
  } catch (cause) {
    requireValid(!(cause instanceof RangeError), key, "nested too deeply");
    throw cause;
  }
}

function expand(document: YamlDocument, key: string): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    requireValid(
      !(cause instanceof ReferenceError || cause instanceof RangeError),
      key,
      "has too many or unknown aliases, or is nested too deeply",
    );
    throw cause;
  }
}
