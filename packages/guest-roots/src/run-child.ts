import { spawn } from "node:child_process";
import { TrineError } from "@trine/base";

const LAST_WORDS = 2048;

/** Runs a program to its end. Kind `canceled` when `signal` ended it, else `internal` with its last words. */
export async function runChild(
  program: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const child = spawn(program, args, {
    stdio: ["ignore", "ignore", "pipe"],
    env: {},
    signal,
    killSignal: "SIGKILL",
  });
  let words = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    words = (words + text).slice(-LAST_WORDS);
  });
  const ended = await new Promise<string | number>((resolve, reject) => {
    child.on("error", (cause) => {
      if (!signal.aborted) reject(TrineError.during(`run ${program}`, cause));
    });
    child.on("close", (code, by) => {
      resolve(code ?? by ?? "unknown");
    });
  });
  if (ended === 0) return;
  if (signal.aborted) throw new TrineError("canceled", `${program} was ended`);
  const said = words.trim().replaceAll(/\s+/g, " ");
  throw new TrineError("internal", `${program} ended with ${ended}: ${said || "no word"}`);
}
