import { readdir } from "node:fs/promises";
import { sleep } from "@trine/base";
import { cgroupsOf, linksOf, mountsOf, socketsOf } from "./host-traces.ts";
import { findProcesses } from "./processes.ts";

export interface LeakScope {
  /** Parts of paths and command lines that name what the test owns: its directory, its cgroup parent. */
  markers: readonly string[];
  /** Directories whose files count, e.g. a state directory. */
  roots?: readonly string[];
  /** Bridges of the test; links on other bridges are other tests'. */
  bridges?: readonly string[];
  /** Traces that are somebody else's to remove. */
  ignore?: RegExp;
}

export interface LeakCheck {
  /** What is there now and was not before, one line each; waits up to `ms` (5000) for it to go. */
  leaks(ms?: number): Promise<string[]>;
}

/** Notes what a test owns of processes, network, mounts, cgroups, sockets and files, to compare later. */
export async function leakCheck(scope: LeakScope): Promise<LeakCheck> {
  const before = await traces(scope);
  return {
    async leaks(ms = 5000) {
      const end = performance.now() + ms;
      for (;;) {
        const now = await traces(scope);
        const left = [...now].filter((trace) => !before.has(trace));
        if (left.length === 0 || performance.now() > end) return left;
        await sleep(100);
      }
    },
  };
}

/** All there is of `scope`, one line each; waits up to `ms` for it to go. For an owner that has just ended. */
export async function remains(scope: LeakScope, ms = 5000): Promise<string[]> {
  const end = performance.now() + ms;
  for (;;) {
    const left = await tracesOf(scope);
    if (left.length === 0 || performance.now() > end) return left;
    await sleep(100);
  }
}

async function traces(scope: LeakScope): Promise<Set<string>> {
  const found = await tracesOf(scope);
  for (const name of await linksOf(scope.bridges ?? [])) found.push(`link ${name}`);
  return new Set(found);
}

/** What bears the scope's names. */
async function tracesOf({ markers, roots = [], ignore }: LeakScope): Promise<string[]> {
  const found: string[] = [];
  for (const marker of markers) {
    for (const { pid, command } of await findProcesses(marker)) {
      found.push(`process ${pid} ${command.slice(0, 200)}`);
    }
    for (const path of await mountsOf(marker)) found.push(`mount ${path}`);
    for (const path of await cgroupsOf(marker)) found.push(`cgroup ${path}`);
    for (const path of await socketsOf(marker)) found.push(`socket ${path}`);
  }
  for (const root of roots) {
    const files = await readdir(root, { recursive: true }).catch(() => []);
    for (const file of files) found.push(`file ${root}/${file}`);
  }
  return found.filter((trace) => ignore?.test(trace) !== true);
}
