import { isDeepStrictEqual } from "node:util";
import { parseDocument, isMap, stringify } from "yaml";
import { TrineError } from "@trine/base";
import { ownFile, withBlock, withoutBlock, withoutMarks } from "./marked-text.ts";

const BLOCK = "settings";

/** Fields of trined's configuration, by name of its sections. */
export type Settings = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/**
 * trined's configuration with these settings. Sections that the file does not have are appended; one that says
 * otherwise is refused with what is wanted in it. undefined: there is no file and nothing to be set.
 */
export function withSettings(
  text: string | undefined,
  path: string,
  wanted: Settings,
): string | undefined {
  if (text === undefined) {
    if (Object.keys(wanted).length === 0) return undefined;
    const head = "apiVersion: config.trine.dev/v1alpha1\n";
    return withBlock(ownFile(head), BLOCK, stringify(wanted));
  }
  const theirs = sectionsOf(path, withoutMarks(text));
  const missing = Object.entries(wanted).filter(([section, fields]) => {
    if (!(section in theirs)) return true;
    checkSection(path, section, { theirs: theirs[section], fields });
    return false;
  });
  if (missing.length === 0) return withoutBlock(text, BLOCK);
  return withBlock(text, BLOCK, stringify(Object.fromEntries(missing)));
}

/** Of a file to which lines can be appended. */
function sectionsOf(path: string, text: string): Readonly<Record<string, unknown>> {
  const document = parseDocument(text);
  const { contents } = document;
  const [error] = document.errors;
  if (error !== undefined) throw new TrineError("invalid", `${path}: ${error.message}`);
  if (
    !isMap(contents) ||
    contents.flow === true ||
    /^(\.\.\.|---)/m.test(text.trimStart().slice(3))
  ) {
    throw new TrineError("invalid", `${path}: one block of KEY: VALUE lines is wanted`);
  }
  return document.toJS({ maxAliasCount: 100 }) as Record<string, unknown>;
}

function checkSection(
  path: string,
  section: string,
  of: { readonly theirs: unknown; readonly fields: Readonly<Record<string, unknown>> },
): void {
  const theirs = (of.theirs ?? {}) as Record<string, unknown>;
  const wrong = Object.entries(of.fields).filter(
    ([name, value]) => !isDeepStrictEqual(theirs[name], value),
  );
  if (wrong.length === 0) return;
  const lines = stringify({ [section]: Object.fromEntries(wrong) }).trim();
  const what = `${path} has a section ${section} of its own, which this needs otherwise: ${lines}`;
  throw new TrineError("conflict", what.replaceAll(/\s*\n\s*/g, " "));
}
