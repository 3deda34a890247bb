import { spawn } from "node:child_process";
import { TrineError } from "@trine/base";

export interface CommandOptions {
  cwd?: string;
  /** Added to the test's own environment. */
  env?: Readonly<Record<string, string>>;
  /** Text for the command's standard input. */
  input?: string;
  /** Default 600000. */
  timeoutMs?: number;
}

/**
 * Runs a program to its end and answers its standard output; kind `internal` with the last lines of its
 * errors when it does not end with 0.
 */
export async function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
    timeout: options.timeoutMs ?? 600_000,
  });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    errors = (errors + chunk).slice(-16_384);
  });
  // A program that does not read its input closes it early; its exit code says whether that was right.
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.input ?? "");
  const ended = await new Promise<string>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      resolve(signal ?? String(code));
    });
  });
  if (ended !== "0") {
    const words = errors.trim().split("\n").slice(-5).join("; ");
    throw new TrineError("internal", `${program} ${args.join(" ")}: ended with ${ended}: ${words}`);
  }
  return output;
}
