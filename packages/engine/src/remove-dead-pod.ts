import { execFile } from "node:child_process";
import { readFile, readdir, realpath, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { TrineError, errnoOf, sleep } from "@trine/base";

const run = promisify(execFile);
/** Written by the shim: its control groups, one directory a line. */
const CGROUPS_FILE = "cgroups";
const KILL_MS = 2_000;
const POLL_MS = 20;
const MOST_GROUPS = 1_024;
const UNMOUNT_MS = 5_000;

/**
 * Ends and removes what a pod without a shim has left: processes and control groups, mounts, files, in
 * that order, so that a step that fails leaves the record of what is still to do. Repeatable; containerd's
 * own call of the shim's `delete` may do the same at the same time.
 */
export async function removeDeadPod(podDir: string): Promise<void> {
  const groups = await cgroupsOf(podDir);
  await killAll(groups, podDir);
  for (const group of groups) await removeGroup(group);
  if (groups.length > 1) for (const group of groups) await removeEmptyParents(group);
  await unmountBelow(podDir);
  await rm(podDir, { recursive: true, force: true });
}

async function cgroupsOf(podDir: string): Promise<string[]> {
  const text = await readFile(join(podDir, CGROUPS_FILE), "utf8").catch(absent);
  return (text ?? "").split("\n").filter((line) => line.startsWith("/"));
}

async function killAll(groups: readonly string[], podDir: string): Promise<void> {
  const end = performance.now() + KILL_MS;
  for (;;) {
    const pids = (await Promise.all(groups.map(processesOf))).flat();
    if (pids.length === 0) return;
    if (performance.now() > end) {
      throw new TrineError(
        "unavailable",
        `processes ${pids.join(", ")} of the dead pod ${podDir} do not end; it is tried again`,
      );
    }
    for (const pid of pids) kill(pid);
    await sleep(POLL_MS);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (cause) {
    if (errnoOf(cause) !== "ESRCH") throw cause;
  }
}

async function processesOf(group: string): Promise<number[]> {
  const texts = await Promise.all(
    (await withGroupsBelow(group)).map((dir) =>
      readFile(join(dir, "cgroup.procs"), "utf8").catch(absent),
    ),
  );
  // 0 stands for a process of another PID namespace.
  return texts
    .flatMap((text) => (text ?? "").split("\n"))
    .map(Number)
    .filter((pid) => pid > 1);
}

async function removeGroup(group: string): Promise<void> {
  for (const dir of (await withGroupsBelow(group)).reverse()) await rmdir(dir).catch(absent);
}

/** The group and those below it, parents first. */
async function withGroupsBelow(group: string): Promise<string[]> {
  const found = [group];
  for (const dir of found) {
    const entries = await readdir(dir, { withFileTypes: true }).catch(absent);
    for (const entry of entries ?? []) {
      if (entry.isDirectory() && found.length < MOST_GROUPS) found.push(join(dir, entry.name));
    }
  }
  return found;
}

/**
 * Beside v1 hierarchies nobody but the shim uses the unified one, so nobody else takes away the parents
 * that were made in it. The kernel refuses those that are in use.
 */
async function removeEmptyParents(group: string): Promise<void> {
  for (let parent = dirname(group); await isUnified(parent); parent = dirname(parent)) {
    try {
      await rmdir(parent);
    } catch {
      return;
    }
  }
}

/** A group of the unified hierarchy; its root has no type. */
async function isUnified(dir: string): Promise<boolean> {
  return (await readFile(join(dir, "cgroup.type"), "utf8").catch(absent)) !== undefined;
}

/** Nothing may be deleted through a mount: what is mounted there goes first, or nothing goes. */
async function unmountBelow(podDir: string): Promise<void> {
  const dir = await realpath(podDir).catch(absent);
  if (dir === undefined) return;
  for (const target of (await mountsBelow(dir)).reverse()) {
    await run("umount", ["-l", "-c", "-i", "--", target], { timeout: UNMOUNT_MS });
  }
  const [left] = await mountsBelow(dir);
  if (left !== undefined) {
    throw new TrineError("unavailable", `${left} is still mounted; its pod's files are kept`);
  }
}

async function mountsBelow(dir: string): Promise<string[]> {
  const table = await readFile("/proc/self/mountinfo", "utf8");
  return table
    .split("\n")
    .map((line) => unescapeOctal(line.split(" ")[4] ?? ""))
    .filter((target) => target.startsWith(`${dir}/`));
}

/** mountinfo writes space, tab, line end and backslash as octal numbers (proc(5)). */
function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(parseInt(digits, 8)),
  );
}

/** What is gone already needs no removal; a control group that is just going answers ENODEV. */
function absent(cause: unknown): undefined {
  const code = errnoOf(cause);
  if (code !== "ENOENT" && code !== "ENODEV") throw cause;
  return undefined;
}
