import { readFile } from "node:fs/promises";
import { rawNumber } from "../exact-json.ts";
import type { JsonObject } from "../json-shape.ts";

/** Lines of /proc/PID/limits (proc_pid_limits(5)) by their names in OCI specifications. */
const NAMES: Readonly<Record<string, string>> = {
  "Max cpu time": "RLIMIT_CPU",
  "Max file size": "RLIMIT_FSIZE",
  "Max data size": "RLIMIT_DATA",
  "Max stack size": "RLIMIT_STACK",
  "Max core file size": "RLIMIT_CORE",
  "Max resident set": "RLIMIT_RSS",
  "Max processes": "RLIMIT_NPROC",
  "Max open files": "RLIMIT_NOFILE",
  "Max locked memory": "RLIMIT_MEMLOCK",
  "Max address space": "RLIMIT_AS",
  "Max file locks": "RLIMIT_LOCKS",
  "Max pending signals": "RLIMIT_SIGPENDING",
  "Max msgqueue size": "RLIMIT_MSGQUEUE",
  "Max nice priority": "RLIMIT_NICE",
  "Max realtime priority": "RLIMIT_RTPRIO",
  "Max realtime timeout": "RLIMIT_RTTIME",
};
const LINE = /^(Max [a-z ]+?) {2,}(unlimited|\d+) +(unlimited|\d+)/;
const UNLIMITED = "18446744073709551615";

/**
 * The limits of a process of the node as OCI rlimits. A container's own processes begin with those of the pod's shim,
 * which are containerd's, as they do under runc; a guest's kernel would begin with its own.
 */
export async function processLimits(pid: number): Promise<readonly JsonObject[]> {
  return parseLimits(await readFile(`/proc/${pid}/limits`, "utf8"));
}

export function parseLimits(table: string): readonly JsonObject[] {
  return table.split("\n").flatMap((line) => {
    const [, name = "", soft = "", hard = ""] = LINE.exec(line) ?? [];
    const type = NAMES[name];
    return type === undefined ? [] : [{ type, hard: bound(hard), soft: bound(soft) }];
  });
}

function bound(word: string): object {
  return rawNumber(word === "unlimited" ? UNLIMITED : word);
}
