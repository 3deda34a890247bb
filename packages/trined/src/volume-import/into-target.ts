import { statfs } from "node:fs/promises";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { VolumeTarget } from "@trine/image-import";

/** A file system with less is full for what is written in pieces. */
const FULL_BYTES = 8 * 1024 * 1024;

/** Writes into a target that is whole in the end, or not there; `path`: the volume's. What went wrong with the writing is what is said. */
export async function intoTarget(
  target: VolumeTarget,
  path: string,
  write: () => Promise<void>,
): Promise<void> {
  try {
    await write();
    await target.finish();
  } catch (cause) {
    const told = kindOf(cause) === "exhausted" ? await withRemedy(cause, path) : cause;
    await target.discard().catch((err: unknown) => {
      console.error(`what was written in part is left: ${messageOf(err)}`);
    });
    throw told;
  }
  await target.close();
}

/** Which of both disks is full, while what was written is still there. */
async function withRemedy(cause: unknown, path: string): Promise<unknown> {
  const found = await statfs(path).catch((err: unknown) => {
    console.error(`which disk is full is not known: ${messageOf(err)}`);
    return undefined;
  });
  if (found === undefined) return cause;
  const remedy =
    found.bavail * found.bsize < FULL_BYTES
      ? "make room on the volume, or make the DataVolume anew with a larger one; it is tried again"
      : "make room on the node's disk, where it lies until it is written; it is tried again";
  return new TrineError("exhausted", `${messageOf(cause)}: ${remedy}`, { cause });
}
