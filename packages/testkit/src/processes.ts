import { readFile, readdir } from "node:fs/promises";
import { pollUntil, errnoOf } from "@trine/base";

export interface FoundProcess {
  pid: number;
  /** Arguments joined by spaces; empty for a kernel thread or a zombie. */
  command: string;
}

/** Living processes whose command line or cgroup path contains `marker`; never this one. */
export async function findProcesses(marker: string): Promise<FoundProcess[]> {
  const found: FoundProcess[] = [];
  for (const entry of await readdir("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const command = (await readProc(pid, "cmdline")).replaceAll("\0", " ").trim();
    if (command === "") continue;
    const inCgroup = (await readProc(pid, "cgroup")).includes(marker);
    if (inCgroup || command.includes(marker)) found.push({ pid, command });
  }
  return found;
}

/** Empty when the process has ended meanwhile. */
function readProc(pid: number, file: string): Promise<string> {
  return readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "");
}

/** Sends SIGKILL to all of them until none is left; kind `timeout` after 10 s. */
export async function killProcesses(marker: string): Promise<void> {
  await pollUntil(`processes of ${marker} end`, { ms: 10_000 }, async () => {
    const left = await findProcesses(marker);
    for (const { pid } of left) signal(pid, "SIGKILL");
    return left.length === 0 ? true : undefined;
  });
}

/** Sends a signal; a process that is gone is a success. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (cause) {
    if (errnoOf(cause) !== "ESRCH") throw cause;
  }
}
