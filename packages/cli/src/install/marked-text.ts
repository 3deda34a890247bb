// What `trine install` writes into text files, and how it finds it again. All of it is in the text itself: what was
// there before can be had from any file we have written, without another memory.
//
//   a file of ours   its first line says so, with a digest of the rest
//   a block          lines of ours in somebody else's file, between two comments
//   a turned line    a value of somebody else's, with what it was behind it in a comment
//
// Each is an edit that may be repeated, and `withoutOurs` is its exact inverse. Comments begin with #: TOML, YAML, units.
import { createHash } from "node:crypto";
import { TrineError } from "@trine/base";

const OWN = /^# Written by trine install \(sha256 ([0-9a-f]{16})\); trine uninstall removes it\.\n/;
const CUT = " (the line above had no end)";
const ANY_BLOCK = /^(# >>> trine install: [a-z0-9-]+)\n/;
const WAS = " # trine install: was ";

/** First half of the sha256 of a text, in hex: enough to tell one's own text from another. */
export function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** A whole file of ours. */
export function ownFile(body: string): string {
  const digest = digestOf(body);
  return `# Written by trine install (sha256 ${digest}); trine uninstall removes it.\n${body}`;
}

/** True for a file of ours that nobody has changed since, blocks aside. */
export function isOwnFile(text: string): boolean {
  const plain = withoutMarks(text);
  const match = OWN.exec(plain);
  return match !== null && digestOf(plain.slice(match[0].length)) === match[1];
}

/** Appends a block, or replaces the one of this name where it stands. `body` ends with a line end. */
export function withBlock(text: string, name: string, body: string): string {
  const found = findBlock(text, name);
  if (found !== undefined) {
    const { start, end, isCut } = found;
    return text.slice(0, start) + blockOf(name, body, isCut) + text.slice(end);
  }
  const isCut = text !== "" && !text.endsWith("\n");
  return `${text}${isCut ? "\n" : ""}${blockOf(name, body, isCut)}`;
}

function blockOf(name: string, body: string, isCut: boolean): string {
  return `# >>> trine install: ${name}${isCut ? CUT : ""}\n${body}# <<< trine install: ${name}\n`;
}

interface Found {
  readonly start: number;
  readonly end: number;
  readonly isCut: boolean;
}

function findBlock(text: string, name: string): Found | undefined {
  const begin = new RegExp(
    `^# >>> trine install: ${name}( \\(the line above had no end\\))?\\n`,
    "m",
  );
  const match = begin.exec(text);
  if (match === null) return undefined;
  const last = `# <<< trine install: ${name}\n`;
  const at = text.indexOf(last, match.index);
  if (at < 0) {
    const what = `a block "trine install: ${name}" begins but does not end: restore its last line, "${last.trim()}"`;
    throw new TrineError("invalid", what);
  }
  return { start: match.index, end: at + last.length, isCut: match[1] !== undefined };
}

/**
 * Gives `key` of a TOML table another value, keeping the old one in a comment. `header`: the table's, with double
 * quotes. Answers undefined where the table does not have the key on a line of its own.
 */
export function withTurnedLine(
  text: string,
  at: { readonly header: string; readonly key: string; readonly value: string },
): string | undefined {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => headerOf(line) === at.header);
  if (start < 0) return undefined;
  const next = lines.findIndex((line, index) => index > start && headerOf(line) !== undefined);
  const wanted = new RegExp(`^(\\s*${at.key}\\s*=\\s*)(.*)$`);
  const index = lines.findIndex(
    (line, each) => each > start && (next < 0 || each < next) && wanted.test(line),
  );
  const match = wanted.exec(lines[index] ?? "");
  if (match === null) return undefined;
  const [, left = "", right = ""] = match;
  if (right.startsWith(`${at.value}${WAS}`)) return text;
  return lines.with(index, `${left}${at.value}${WAS}${right}`).join("\n");
}

function headerOf(line: string): string | undefined {
  const match = /^\s*(\[[^[\]]+\])\s*(#.*)?$/.exec(line);
  return match?.[1]?.replaceAll("'", '"').replaceAll(/\s/g, "");
}

/** The text without our blocks, and with turned lines as they were. */
export function withoutMarks(text: string): string {
  let rest = text;
  for (;;) {
    const name = /^# >>> trine install: ([a-z0-9-]+)/m.exec(rest)?.[1];
    if (name === undefined) return withLinesBack(rest);
    rest = withoutBlock(rest, name);
  }
}

/** Takes out one block, if it is there. */
export function withoutBlock(text: string, name: string): string {
  const found = findBlock(text, name);
  if (found === undefined) return text;
  const { start, end, isCut } = found;
  const [head, tail] = [text.slice(0, start), text.slice(end)];
  if (!isCut) return head + tail;
  // The next block of ours remembers it; what somebody has written behind keeps a line of its own.
  if (ANY_BLOCK.test(tail)) return head + tail.replace(ANY_BLOCK, `$1${CUT}\n`);
  return tail === "" ? head.slice(0, -1) : head + tail;
}

/** Turned lines as they were. */
export function withLinesBack(text: string): string {
  return text.replaceAll(/^(\s*[\w-]+\s*=\s*)\S+ # trine install: was (.*)$/gm, "$1$2");
}

/**
 * What is left of a file when ours is taken out of it; undefined: nothing, the file goes. A file of ours that somebody
 * has changed is theirs from then on.
 */
export function withoutOurs(text: string): string | undefined {
  return isOwnFile(text) ? undefined : withoutMarks(text).replace(OWN, "");
}
