import { readlink } from "node:fs/promises";
import type { Child } from "@trine/proto/shim";
import type { PodContext } from "../pod-context.ts";

/** Key of the pause process at the pod's shim. */
const PAUSE_KEY = "pause";
const PROGRAM = "/pause";
const REPLACED = / \(deleted\)$/;
/** As the pause image of Kubernetes runs. */
const NOBODY = 65_535;

/**
 * The first process of the PID namespace that the pod's ordinary containers share (decision 3): waits, and takes in
 * orphans. Answers its process id. Repeatable.
 */
export async function startPause({ shim, facts }: PodContext): Promise<number> {
  const { children } = await shim.describe();
  // Its number may be another process's by now.
  if (runningPause(children) === undefined) await shim.reap(PAUSE_KEY);
  const running = await readlink(`/proc/${facts.pid}/exe`);
  const program = running.replace(REPLACED, ""); // by an upgrade: then there is a newer one at its place
  const { pid } = await shim.spawn({
    key: PAUSE_KEY,
    argv: [PROGRAM, "pause"],
    env: [],
    uid: NOBODY,
    gid: NOBODY,
    jail: { binds: [{ source: program, target: PROGRAM }], newPid: true },
    oomScoreAdj: -998,
  });
  return pid;
}

/** Its process id, when there is one. */
export function runningPause(children: readonly Child[]): number | undefined {
  return children.find(({ key, running }) => key === PAUSE_KEY && running)?.pid;
}
