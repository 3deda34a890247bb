import { readFile } from "node:fs/promises";
import { pollUntil } from "@trine/base";

const TICKS_PER_SECOND = 100; // sysconf(_SC_CLK_TCK) on Linux

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
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Resolves when a file that may not exist yet has its first byte. */
export async function firstByte(
  path: () => Promise<string | undefined>,
  ms: number,
): Promise<void> {
  await pollUntil("first console byte", { ms, everyMs: 1 }, async () => {
    const file = await path();
    const text = file === undefined ? "" : await readFile(file).catch(() => "");
    return text.length > 0 ? true : undefined;
  });
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
