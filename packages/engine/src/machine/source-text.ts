import { TrineError } from "@trine/base";
import type { SourceContent } from "./seed-volumes.ts";

/** A file of a directory, in the letters that are said or else in others. Kind `notFound`, with the names there are. */
export function fileOf(files: ReadonlyMap<string, Buffer>, name: string): Buffer {
  const wanted = name.toLowerCase();
  const others = [...files].filter(([other]) => other.toLowerCase() === wanted);
  const found = files.get(name) ?? (others.length === 1 ? others[0]?.[1] : undefined);
  if (found !== undefined) return found;
  const has = files.size === 0 ? "it is empty" : `it has ${[...files.keys()].join(", ")}`;
  throw new TrineError("notFound", `there is no ${name}: ${has}`.slice(0, 500));
}

/** The text of a file. Kind `invalid` for a directory, and for what is no text. */
export function wholeText(content: SourceContent): string {
  if (content.kind === "directory") {
    const has = [...content.files.keys()].join(", ").slice(0, 300);
    throw new TrineError("invalid", `is a directory: name one of its files (${has})`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content.bytes);
  } catch (cause) {
    throw new TrineError("invalid", "is not text in UTF-8", { cause });
  }
}

/** Kind `invalid` for a file. */
export function directoryOf(content: SourceContent): ReadonlyMap<string, Buffer> {
  if (content.kind === "directory") return content.files;
  throw new TrineError("invalid", "is a file: a directory is needed");
}

/** Kind `invalid` for what is not base64, which Node would pass over. */
export function decodeBase64(text: string): Buffer {
  const digits = text.replaceAll(/\s/g, "");
  const isWhole = /^[A-Za-z0-9+/]*={0,2}$/.test(digits) && digits.length % 4 === 0;
  if (!isWhole) throw new TrineError("invalid", "is not base64");
  return Buffer.from(digits, "base64");
}
