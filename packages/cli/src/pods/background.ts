import { spawn } from "node:child_process";
import { once } from "node:events";
import { TrineError, messageOf } from "@trine/base";

/** Leaves the start of a pod to a process of its own, which ends when the pod runs; a failure is kept for `why` and `events`. */
export async function startInBackground(name: string, timeoutMs?: number): Promise<void> {
  const program = process.argv[1];
  if (program === undefined) throw new TrineError("internal", "this program's path is not known");
  const limit = timeoutMs === undefined ? [] : [`--timeout=${timeoutMs}ms`];
  const child = spawn(process.execPath, [program, "start", "--progress=none", ...limit, name], {
    detached: true,
    stdio: "ignore",
  });
  try {
    await once(child, "spawn");
  } catch (cause) {
    throw new TrineError("internal", `start in background: ${messageOf(cause)}`, { cause });
  }
  child.unref();
}
