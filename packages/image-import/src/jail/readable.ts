import { constants } from "node:fs";
import { copyFile, open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";

/** Whether the jail's user may read a file: its own permission to all, and a way there is not needed. */
export async function isReadableToAll(handle: FileHandle): Promise<boolean> {
  return ((await handle.stat()).mode & 0o004) !== 0;
}

/** Copies the file that was opened and checked, whatever has its name by now, to one that all may read. */
export async function copyForAll(from: FileHandle, path: string): Promise<FileHandle> {
  await copyFile(`/proc/self/fd/${from.fd}`, path, constants.COPYFILE_FICLONE);
  const copy = await open(path, "r");
  await copy.chmod(0o644);
  return copy;
}
