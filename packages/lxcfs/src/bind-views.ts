import { spawn } from "node:child_process";
import { TrineError } from "@trine/base";

const MAX_OUTPUT = 4 << 20;

/** A running container, and the files it is to see. */
export interface Target {
  readonly id: string;
  /** Of its first process, in trined's PID namespace. */
  readonly pid: number;
  readonly files: readonly string[];
}

export interface Bound {
  /** Files of lxcfs that can be read now. */
  readonly files: readonly string[];
  /** By container: undefined = its files are those of the present lxcfs, else why not. */
  readonly outcomes: ReadonlyMap<string, string | undefined>;
}

/**
 * Puts the files of the lxcfs at `dir` over those of running containers, which takes entering their mount namespaces:
 * a program of ours does it, and also reads each file first. Kind `unavailable` where lxcfs does not answer.
 */
export async function bindViews(
  helper: string,
  dir: string,
  targets: readonly Target[],
  timeoutMs: number,
): Promise<Bound> {
  const child = spawn(helper, ["--views", dir], {
    env: {},
    stdio: ["pipe", "pipe", "pipe"],
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  let [output, errors] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    if (output.length > MAX_OUTPUT) child.kill("SIGKILL");
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-1000);
  });
  child.stdin.on("error", () => undefined); // one that ended early says why by itself
  child.stdin.end(
    targets.map(({ id, pid, files }) => `${id} ${pid} ${files.join(" ")}\n`).join(""),
  );
  const ended = await new Promise<string>((resolve, reject) => {
    child.once("error", (cause) => {
      reject(new TrineError("unavailable", `${helper}: ${cause.message}`, { cause }));
    });
    child.once("close", (code, signal) => {
      resolve(signal ?? String(code));
    });
  });
  if (ended !== "0") {
    throw new TrineError("unavailable", `lxcfs at ${dir}: ${errors.trim() || `ended by ${ended}`}`);
  }
  return parse(output);
}

/** First line: `files FILE...`; then `ID ok` or `ID WHY`. */
function parse(output: string): Bound {
  const [first = "", ...lines] = output.trimEnd().split("\n");
  const [word, ...files] = first.split(" ");
  if (word !== "files") throw new TrineError("malformed", `no list of files: ${first}`);
  const outcomes = lines.map((line): [string, string | undefined] => {
    const space = line.indexOf(" ");
    const why = line.slice(space + 1);
    return [line.slice(0, space), why === "ok" ? undefined : why];
  });
  return { files, outcomes: new Map(outcomes) };
}
