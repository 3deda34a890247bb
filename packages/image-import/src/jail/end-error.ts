import { TrineError } from "@trine/base";
import { WRONG_FILE } from "./jail-script.ts";

/** A signal by its name, or as a shell tells it. */
const TOO_LARGE: readonly (number | string)[] = ["SIGXFSZ", 128 + 25];

/** What the end of a jailed program means: its exit code or signal, and its last words on stderr. */
export function endError(program: string, end: number | string, words: string): TrineError {
  const name = program.replace(/^.*\//, "");
  if (end === WRONG_FILE) return new TrineError("conflict", "the file was replaced meanwhile");
  const missing = /setpriv: failed to execute|No such file or directory$/.test(words.trim());
  if (end === 127 || (missing && words.startsWith("setpriv"))) {
    return new TrineError("unavailable", `${program} is not there: install it`);
  }
  // Its limit of file size is ours, made of the input's own size.
  if (TOO_LARGE.includes(end) || words.includes("File too large")) {
    const advice = "a bomb, or raise --max-size or --max-expansion";
    return new TrineError("invalid", `${name}: more data than the limits allow: ${advice}`);
  }
  if (words.includes("No space left on device")) {
    return new TrineError("exhausted", `${name}: ${lastLine(words)}`);
  }
  return new TrineError("invalid", `${name} refuses it: ${lastLine(words) || `ended with ${end}`}`);
}

function lastLine(words: string): string {
  const line = words.trim().split("\n").at(-1) ?? "";
  return line.replaceAll(/\p{Cc}/gu, "?").slice(0, 300);
}
