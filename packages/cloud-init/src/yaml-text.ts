import { LineCounter, isMap, isScalar, parseDocument } from "yaml";
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
): { readonly kind: "mapping" | "empty" | "other"; toValue(): unknown } {
  const lines = new LineCounter();
  const document = readDocument(text, key, lines);
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

type YamlDocument = ReturnType<typeof parseDocument>;

function readDocument(text: string, key: string, lineCounter: LineCounter): YamlDocument {
  try {
    // cloud-init takes the last of two equal keys; refusing them is not our business. Pretty errors
    // cost time for each of them, and there may be thousands.
    const options = {
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: "silent",
      lineCounter,
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
