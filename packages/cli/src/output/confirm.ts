import type { Io } from "../io.ts";
import { printable } from "./table.ts";

const MAX_ANSWER = 1024;
const MAX_NAMED = 8;
/** Exit code of a verb that a person has not agreed to. */
export const DECLINED = 1;

export interface ConfirmFlags {
  readonly yes: boolean;
}

/**
 * Asks a person before something is destroyed, `[y/N]`; true to go on. Programs are not asked: without a terminal on
 * stdin and stderr, with --yes, or where the setting `confirm` is `never`. Rejects when ^C comes instead.
 */
export async function confirmed(io: Io, question: string, flags: ConfirmFlags): Promise<boolean> {
  const isTerminal = io.stdin.isTTY === true && io.stderr.isTTY === true;
  if (flags.yes || !isTerminal || io.config.settings.confirm.value === "never") return true;
  io.stderr.write(`${printable(question)} [y/N] `);
  const answer = await readLine(io);
  if (/^y(es)?$/i.test(answer.trim())) return true;
  io.stderr.write("trine: nothing was removed\n");
  return false;
}

/** A list for a question. */
export function namesOf(names: readonly string[]): string {
  const more = names.length - MAX_NAMED;
  return `${names.slice(0, MAX_NAMED).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** A line of the terminal, which edits it; what there is at its end (^D). */
function readLine({ stdin, stderr, signal }: Io): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const end = (done: () => void): void => {
      stdin.off("data", take).off("end", finish).off("error", finish);
      signal.removeEventListener("abort", stop);
      stdin.pause();
      done();
    };
    const finish = (): void => {
      end(() => {
        if (!text.includes("\n")) stderr.write("\n");
        resolve(text);
      });
    };
    const take = (chunk: Buffer): void => {
      text += chunk.toString("utf8");
      if (text.includes("\n") || text.length > MAX_ANSWER) finish();
    };
    const stop = (): void => {
      end(() => {
        stderr.write("\n");
        reject(signal.reason as Error);
      });
    };
    signal.addEventListener("abort", stop, { once: true });
    stdin.on("data", take).on("end", finish).on("error", finish);
    stdin.resume();
  });
}
