import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { TrineError } from "@trine/base";

const MAX_OUTPUT = 4 << 20;
/** After SIGKILL it ends at once, or when lxcfs does. */
const KILL_MS = 3_000;

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

/** Helpers given up that have not ended: SIGKILL waits with them for the answer of an lxcfs that has read their question. */
export type Stuck = Set<ChildProcess>;

/**
 * Puts the files of the lxcfs at `dir` over those of running containers, which takes entering their mount namespaces:
 * a program of ours does it, and also reads each file first. Kind `unavailable` where lxcfs does not answer,
 * and while a helper is stuck: one waits for it, not more and more.
 */
export async function bindViews(
  helper: string,
  dir: string,
  targets: readonly Target[],
  timeoutMs: number,
  stuck: Stuck = new Set(),
): Promise<Bound> {
  if (stuck.size > 0) {
    throw new TrineError("unavailable", `lxcfs at ${dir}: an earlier question is not answered yet`);
  }
  const child = spawn(helper, ["--views", dir], { env: {}, stdio: ["pipe", "pipe", "pipe"] });
  const over = new AbortController();
  let [output, errors] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    if (output.length > MAX_OUTPUT) over.abort();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors = (errors + text).slice(-1000);
  });
  child.stdin.on("error", () => undefined); // one that ended early says why by itself
  child.stdin.end(
    targets.map(({ id, pid, files }) => `${id} ${pid} ${files.join(" ")}\n`).join(""),
  );
  const limit = setTimeout(() => {
    over.abort();
  }, timeoutMs);
  const ended = await endOf(child, over.signal, stuck).finally(() => {
    clearTimeout(limit);
  });
  // What one that was killed has said in whole lines was done.
  const said = output.slice(0, output.lastIndexOf("\n") + 1);
  if (ended !== "0" && !(ended === "SIGKILL" && said.startsWith("files "))) {
    throw new TrineError("unavailable", `lxcfs at ${dir}: ${errors.trim() || `ended by ${ended}`}`);
  }
  return parse(said);
}

/** Its exit code or signal; killed at `over`. One that has not ended soon after is put among `stuck` until it does. */
async function endOf(child: ChildProcess, over: AbortSignal, stuck: Stuck): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const fail = (what: string, cause?: Error): void => {
    reject(new TrineError("unavailable", `${child.spawnfile}: ${what}`, { cause }));
  };
  child.once("error", (cause) => {
    fail(cause.message, cause);
  });
  child.once("exit", () => stuck.delete(child));
  child.once("close", (code, signal) => {
    resolve(signal ?? String(code));
  });
  let timer: NodeJS.Timeout | undefined;
  const kill = (): void => {
    child.kill("SIGKILL");
    timer = setTimeout(() => {
      if (child.exitCode === null && child.signalCode === null) stuck.add(child);
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy();
      child.unref(); // trined ends without it
      fail("it does not end when killed: lxcfs hangs");
    }, KILL_MS);
  };
  over.addEventListener("abort", kill, { once: true });
  try {
    return await promise;
  } finally {
    over.removeEventListener("abort", kill);
    clearTimeout(timer);
  }
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
