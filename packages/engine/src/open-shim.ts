import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TrineError, errnoOf, lockFile } from "@trine/base";
import { ShimLink } from "@trine/shim-client";

const CONNECT_MS = 5_000;
const SOCKET = "shim.sock";
/** Longest that somebody who makes or looks for a shim holds the lock of the directory above. */
const LOCK_S = 5;

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
 * above: so does whoever looks. Both are let go of at once.
 */
async function isDead(podDir: string): Promise<boolean> {
  await using above = await open(dirname(podDir), "r");
  if (!(await lockFile(above, LOCK_S))) {
    throw new TrineError("timeout", `${dirname(podDir)}: its lock was not free for ${LOCK_S} s`);
  }
  const lock = await open(join(podDir, "lock"), "r").catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw cause;
  });
  if (lock === undefined) return true;
  try {
    return await lockFile(lock);
  } finally {
    await lock.close();
  }
}
