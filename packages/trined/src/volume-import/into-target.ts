import { statfs } from "node:fs/promises";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { VolumeTarget } from "@trine/image-import";

/** A file system with less is full for what is written in pieces. */
const FULL_BYTES = 8 * 1024 * 1024;

const OF_VOLUME =
  "make room on the volume, or make the DataVolume anew with a larger one; it is tried again";
const OF_NODE =
  "make room on the node's disk, where it lies until it is written; it is tried again";

/** Writes into a target that is whole in the end, or not there; `path`: the volume's. What went wrong with the writing is what is said. */
export async function intoTarget(
  target: VolumeTarget,
  path: string,
  write: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let isWriting = false;
  try {
    await target.reserve(signal);
    isWriting = true;
    await write();
    isWriting = false;
    await target.finish(signal);
  } catch (cause) {
    const told = await withRemedy(cause, isWriting ? path : undefined);
    await target.discard().catch((err: unknown) => {
      console.error(`what was written in part is left: ${messageOf(err)}`);
    });
    throw told;
  }
  await target.close();
}

/** What is written by nobody yet: kind `exhausted` where its disk cannot have the space that it is to have. */
export async function tryTarget(target: VolumeTarget, signal: AbortSignal): Promise<void> {
  try {
    await target.reserve(signal);
  } catch (cause) {
    throw await withRemedy(cause, undefined);
  } finally {
    await target.discard();
  }
}

/** Which disk is full, while what was written is still there: the volume, or, where `path` is given, one of both. */
async function withRemedy(cause: unknown, path: string | undefined): Promise<unknown> {
  if (kindOf(cause) !== "exhausted") return cause;
  const remedy = path === undefined ? OF_VOLUME : await remedyAt(path);
  if (remedy === undefined) return cause;
  return new TrineError("exhausted", `${messageOf(cause)}: ${remedy}`, { cause });
}

async function remedyAt(path: string): Promise<string | undefined> {
  const found = await statfs(path).catch((err: unknown) => {
    console.error(`which disk is full is not known: ${messageOf(err)}`);
    return undefined;
  });
  if (found === undefined) return undefined;
  return found.bavail * found.bsize < FULL_BYTES ? OF_VOLUME : OF_NODE;
}
