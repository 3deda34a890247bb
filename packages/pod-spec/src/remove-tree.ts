import { constants } from "node:fs";
import { open, readFile, readdir, rmdir, unlink } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { TrineError, errnoOf } from "@trine/base";

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY;

/**
 * Removes a directory, or a file, and all below it; repeatable. What is mounted there is others': kind
 * `conflict` at a mount, whenever it was made, and nothing in it is touched. Each directory is held open
 * while it is emptied, so a mount upon it later is not seen; of one that is opened the mount is compared.
 */
export async function removeTree(path: string): Promise<void> {
  await using parent = await open(dirname(path), DIRECTORY).catch(unlessGone);
  if (parent !== undefined) await removeIn(parent, Buffer.from(basename(path)), path);
}

async function removeIn(parent: FileHandle, name: Buffer, shown: string): Promise<void> {
  // Names are the pod's own: they need not be text.
  const path = Buffer.concat([Buffer.from(`/proc/self/fd/${parent.fd}/`), name]);
  try {
    if (await emptyIfDirectory(parent, path, shown)) await rmdir(path);
    else await unlink(path);
  } catch (cause) {
    if (cause instanceof TrineError) throw cause; // told of a place below
    if (errnoOf(cause) === "EBUSY") throw mounted(shown, cause);
    unlessGone(cause);
  }
}

/** False for what is no directory. */
async function emptyIfDirectory(parent: FileHandle, path: Buffer, shown: string): Promise<boolean> {
  await using dir = await open(path, DIRECTORY | constants.O_NOFOLLOW).catch((cause: unknown) => {
    if (["ENOTDIR", "ELOOP"].includes(errnoOf(cause) ?? "")) return undefined;
    throw cause;
  });
  if (dir === undefined) return false;
  if ((await mountOf(dir)) !== (await mountOf(parent))) throw mounted(shown);
  for (const name of await readdir(`/proc/self/fd/${dir.fd}`, { encoding: "buffer" })) {
    await removeIn(dir, name, `${shown}/${name.toString()}`);
  }
  return true;
}

/** A bind mount has the device of what it shows: only the mount's number tells them apart. */
async function mountOf({ fd }: FileHandle): Promise<string> {
  const text = await readFile(`/proc/self/fdinfo/${fd}`, "utf8");
  const id = /^mnt_id:\s*(\d+)$/m.exec(text)?.[1];
  if (id === undefined) throw new TrineError("internal", `/proc/self/fdinfo/${fd} has no mnt_id`);
  return id;
}

function mounted(path: string, cause?: unknown): TrineError {
  const what = `${path} is a mount and is not removed: unmount it and try again`;
  return new TrineError("conflict", what, { cause });
}

function unlessGone(cause: unknown): undefined {
  if (errnoOf(cause) !== "ENOENT") throw cause;
}
