import { TrineError } from "@trine/base";
import { NO_JAIL, WRONG_FILE } from "./jail-script.ts";

/** A signal by its name, or as a shell tells it. */
const TOO_LARGE: readonly (number | string)[] = ["SIGXFSZ", 128 + 25];
/** By the kernel, for want of memory or after its time: nobody else ends it without our asking. */
const KILLED: readonly (number | string)[] = ["SIGKILL", 128 + 9];
/** Those who speak before the program does. */
const MAKERS = /^(?:setpriv|prlimit|unshare|chroot|trine-rootfs): /;

/**
 * What the end of a jailed program means: its exit code or signal, and its last words on stderr. `limitSetBy`: what a user
 * would change for more; absent: an option.
 */
export function endError(
  program: string,
  end: number | string,
  words: string,
  limitSetBy?: string,
): TrineError {
  const name = program.replace(/^.*\//, "");
  if (end === WRONG_FILE) return new TrineError("conflict", "the file was replaced meanwhile");
  if (/^setpriv: failed to execute .*: No such file or directory$/.test(words.trim())) {
    return new TrineError("unavailable", `${program} is not there: install it`);
  }
  if (end === NO_JAIL || MAKERS.test(words)) {
    // Its own words: mount(8) adds advice behind them.
    const why = cleaned(words.split("\n")[0] ?? "") || `ended with ${end}`;
    return new TrineError("unavailable", `no jail can be made for ${name}: ${why}`);
  }
  if (KILLED.includes(end)) {
    return new TrineError("exhausted", `${name}: killed for want of memory or time`);
  }
  // Its limit of file size is ours, made of the input's own size.
  if (TOO_LARGE.includes(end) || words.includes("File too large")) {
    const advice = limitSetBy ?? "a bomb, or raise --max-size or --max-expansion";
    return new TrineError("invalid", `${name}: more data than the limits allow: ${advice}`);
  }
  if (words.includes("No space left on device")) {
    return new TrineError("exhausted", `${name}: ${lastLine(words)}`);
  }
  return new TrineError("invalid", `${name} refuses it: ${lastLine(words) || `ended with ${end}`}`);
}

function lastLine(words: string): string {
  return cleaned(words.trim().split("\n").at(-1) ?? "");
}

function cleaned(line: string): string {
  return line.replaceAll(/\p{Cc}/gu, "?").slice(0, 300);
}
