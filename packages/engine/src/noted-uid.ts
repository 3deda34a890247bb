import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "@trine/base";
import type { UidPool } from "./uid-pool.ts";

/** In the directory of a shim: the user id its machine runs as, decimal. */
const FILE = "uid";

/**
 * The id of `owner`, whose shim's directory is `dir`. It is written down before anything runs under it: a daemon
 * whose question that shim does not answer knows all the same that the id is in use.
 */
export async function takeUid(uids: UidPool, owner: string, dir: string): Promise<number> {
  const uid = uids.take(owner);
  try {
    await writeFile(join(dir, FILE), `${uid}`);
  } catch (cause) {
    uids.release(owner);
    throw cause;
  }
  return uid;
}

/** The id that whatever lives in `dir` has, if any, is `owner`'s, unless it is known already whose it is. */
export async function noteUid(uids: UidPool, owner: string, dir: string): Promise<void> {
  const text = await readFile(join(dir, FILE), "utf8").catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return "";
    throw cause;
  });
  const uid = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(uid)) uids.note(uid, owner);
}

/** Nothing in `dir` runs under the id of `owner` any more. Repeatable. */
export async function releaseUid(uids: UidPool, owner: string, dir: string): Promise<void> {
  await rm(join(dir, FILE), { force: true });
  uids.release(owner);
}
