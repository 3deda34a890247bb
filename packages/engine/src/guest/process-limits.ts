import { readFile } from "node:fs/promises";
import { errnoOf } from "@trine/base";
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
 * What a container's processes begin with, as OCI rlimits: containerd's own limits, as under runc; a guest's kernel
 * would begin with its own. The shim's start, a child of containerd, has noted them. `shim`: process id of an older
 * release's, which noted nothing and runs with them itself.
 */
export async function processLimits(noted: string, shim: number): Promise<readonly JsonObject[]> {
  try {
    return parseLimits(await readFile(noted, "utf8"));
  } catch (cause) {
    if (errnoOf(cause) !== "ENOENT") throw cause;
    return parseLimits(await readFile(`/proc/${shim}/limits`, "utf8"));
  }
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
