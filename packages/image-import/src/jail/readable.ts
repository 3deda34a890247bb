import type { FileHandle } from "node:fs/promises";

/** Whether the jail's user may read a file: its own permission to all, and a way there is not needed. */
export async function isReadableToAll(handle: FileHandle): Promise<boolean> {
  return ((await handle.stat()).mode & 0o004) !== 0;
}
