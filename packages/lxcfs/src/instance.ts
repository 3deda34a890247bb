import { readFileSync } from "node:fs";
import { join } from "node:path";

/** One run of lxcfs: its process, and when that began (a number may come again). */
export interface Instance {
  readonly pid: number;
  readonly began: string;
}

/**
 * The lxcfs that runs now, by the file it writes its number to; undefined where none does. Reads tmpfs and /proc
 * alone, never a file that lxcfs serves: one that hangs would take a thread of ours.
 */
export function runningInstance(pidFile: string, proc = "/proc"): Instance | undefined {
  try {
    const pid = Number(readFileSync(pidFile, "utf8").trim());
    if (!Number.isSafeInteger(pid) || pid < 1) return undefined;
    const text = readFileSync(join(proc, String(pid), "stat"), "utf8");
    // proc(5): the name in brackets may hold anything; behind it the state, and the start as the 20th field from there.
    const end = text.lastIndexOf(")");
    const fields = text.slice(end + 2).split(" ");
    const [state, began] = [fields[0], fields[19]];
    if (!text.slice(0, end).endsWith("(lxcfs") || began === undefined) return undefined;
    return state === "Z" || state === "X" ? undefined : { pid, began };
  } catch {
    return undefined; // no file yet, or no such process any more: there is none
  }
}

/** Whether a lxcfs is mounted at `dir`, uppermost: one whose mount somebody took away runs on. */
export function isMounted(dir: string, mountinfo = "/proc/self/mountinfo"): boolean {
  // proc(5): ID PARENT DEVICE ROOT POINT OPTIONS... - TYPE SOURCE OPTIONS, lowest first; thousands of lines on a busy node.
  const text = readFileSync(mountinfo, "utf8");
  const wanted = ` ${dir} `;
  for (let at = text.lastIndexOf(wanted); at > 0; at = text.lastIndexOf(wanted, at - 1)) {
    const [line = ""] = text.slice(text.lastIndexOf("\n", at) + 1).split("\n", 1);
    if (line.split(" ", 5)[4] === dir) return line.includes(" - fuse.lxcfs ");
  }
  return false;
}

export function isSame(one: Instance | undefined, other: Instance | undefined): boolean {
  return one?.pid === other?.pid && one?.began === other?.began;
}
