import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { errnoOf } from "@trine/base";
import { ShimLink } from "@trine/shim-client";
import { isThere } from "./is-there.ts";

const run = promisify(execFile);
const CONNECT_MS = 5_000;
const SOCKET = "shim.sock";
/** Exit code of flock(1) for a lock that is held. */
const LOCKED = 75;

/** The shim of a directory; undefined when it is dead: nobody listens on its socket and nobody holds its lock. */
export async function openUnlessDead(podDir: string): Promise<ShimLink | undefined> {
  try {
    return await ShimLink.open(join(podDir, SOCKET), AbortSignal.timeout(CONNECT_MS));
  } catch (cause) {
    // A failure of another kind says nothing about the shim.
    if (!["ECONNREFUSED", "ENOENT"].includes(errnoOf(cause) ?? "")) throw cause;
    if (await isDead(podDir)) return undefined;
    throw cause;
  }
}

/**
 * A shim holds its directory's lock for its life, and makes both while it holds the lock of the directory
 * above. Node cannot ask for a lock: flock(1) takes it and lets go of it at once.
 */
async function isDead(podDir: string): Promise<boolean> {
  if (!(await isThere(podDir))) return true;
  const probe = ["flock", "--nonblock", "--conflict-exit-code", `${LOCKED}`, join(podDir, "lock")];
  try {
    await run("flock", [dirname(podDir), ...probe, "true"], { timeout: CONNECT_MS });
    return true;
  } catch (cause) {
    if ((cause as { code?: unknown }).code === LOCKED) return false;
    throw cause;
  }
}
