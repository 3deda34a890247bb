import { spawn } from "node:child_process";
import { TrineError } from "@trine/base";

const ERROR_BYTES = 16_384;
/** How env(1) ends when it finds no such program. */
const ABSENT = "127";

export interface ToolOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Given to the program's standard input. */
  readonly input?: Uint8Array;
  /** Of its standard output; more ends it. Default 1 MiB. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
}

/**
 * Runs a program to its end and answers its standard output. Kind `unavailable` when it is not installed,
 * `internal` with the last lines of its errors when it does not end with 0, `exhausted` above `maxBytes`.
 */
export async function runTool(
  program: string,
  args: readonly string[],
  options: ToolOptions = {},
): Promise<Buffer> {
  const max = options.maxBytes ?? 1 << 20;
  const env = Object.entries({ LC_ALL: "C", ...options.env }).map(
    ([key, value]) => `${key}=${value}`,
  );
  const child = spawn("env", [...env, program, ...args], {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdio: ["pipe", "pipe", "pipe"],
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const chunks: Buffer[] = [];
  let bytes = 0;
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > max) child.kill("SIGKILL");
    else chunks.push(chunk);
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    errors = (errors + chunk).slice(-ERROR_BYTES);
  });
  // A program that needs no more of its input closes it; its exit code says whether that was right.
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.input ?? "");
  const ended = await endOf(child);
  if (bytes > max)
    throw new TrineError("exhausted", `${program}: more than ${max} bytes come of it`);
  if (ended === ABSENT) throw new TrineError("unavailable", `${program} is not installed`);
  if (ended !== "0") {
    const words = errors.trim().split("\n").slice(-5).join("; ");
    throw new TrineError("internal", `${program} ${args.join(" ")}: ended with ${ended}: ${words}`);
  }
  return Buffer.concat(chunks);
}

function endOf(child: ReturnType<typeof spawn>): Promise<string> {
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      resolve(signal ?? String(code));
    });
  });
}
