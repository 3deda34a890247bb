import { watch } from "node:fs";
import { readFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf, pollUntil, sleep, withDeadline } from "@trine/base";

const TICKS_PER_SECOND = 100; // sysconf(_SC_CLK_TCK) on Linux
const IDLE_WINDOW_MS = 500;
const IDLE_SHARE = 0.93;

/** Proportional set size of a process, bytes (proc(5), smaps_rollup). */
export async function pssBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? Number.NaN) * 1024;
}

/** Resident set size of a process, bytes. */
export async function rssBytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1] ?? Number.NaN) * 1024;
}

/** User and system time of a process, seconds. */
export async function cpuSeconds(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Ticks of all processors since boot, and those of them with nothing to do (proc_stat(5)). */
async function processorTicks(): Promise<{ all: number; idle: number }> {
  const [line = ""] = (await readFile("/proc/stat", "utf8")).split("\n", 1);
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  return {
    all: ticks.reduce((sum, each) => sum + each, 0),
    idle: (ticks[3] ?? 0) + (ticks[4] ?? 0),
  };
}

/**
 * Resolves when the processors had nothing to do for a while, so that the end of what was before is not measured.
 * A host that has other work never is idle: after `ms` it is measured as it is.
 */
export async function untilIdle(ms = 15_000): Promise<void> {
  const deadline = performance.now() + ms;
  let before = await processorTicks();
  while (performance.now() < deadline) {
    await sleep(IDLE_WINDOW_MS);
    const now = await processorTicks();
    if (now.idle - before.idle >= IDLE_SHARE * (now.all - before.all)) return;
    before = now;
  }
}

export async function commandLine(pid: number): Promise<string[]> {
  return (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0").slice(0, -1);
}

/** Children of a process, with their command names. */
export async function childrenOf(pid: number): Promise<{ pid: number; name: string }[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return Promise.all(
    text
      .trim()
      .split(" ")
      .filter((word) => word !== "")
      .map(async (word) => ({
        pid: Number(word),
        name: (await readFile(`/proc/${word}/comm`, "utf8")).trim(),
      })),
  );
}

/** Names in a directory that may not be there yet. */
export async function namesIn(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return [];
    throw cause;
  }
}

/** The directory that comes into `parent` beside those in `known`. */
export function newDirectory(
  parent: string,
  known: ReadonlySet<string>,
  ms: number,
): Promise<string> {
  return pollUntil(`a new directory in ${parent}`, { ms, everyMs: 5 }, async () => {
    const name = (await namesIn(parent)).find((each) => !known.has(each));
    return name === undefined ? undefined : join(parent, name);
  });
}

/** Resolves when a file of a directory that exists has its first byte; without polling. */
export async function firstByteOf(dir: string, name: string, ms: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const path = join(dir, name);
  const look = async (): Promise<void> => {
    const found = await stat(path).catch(() => undefined); // it may not be there yet
    if (found !== undefined && found.size > 0) resolve(undefined);
  };
  const watcher = watch(dir, () => void look());
  watcher.on("error", reject);
  try {
    await look();
    await withDeadline(`first byte of ${path}`, ms, promise);
  } finally {
    watcher.close();
  }
}
