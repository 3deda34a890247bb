import { constants } from "node:fs";
import { lstat, open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { TrineError, quote } from "@trine/base";

/**
 * Opens a regular file for reading. Kind `invalid` for a symlink, FIFO, device, directory or socket
 * (none of which is ever waited for or followed), `notFound` when there is no such file.
 */
export async function openRegularFile(path: string): Promise<FileHandle> {
  const what = `disk image ${quote(path)}`;
  // Opening a device can have effects of its own, so look before; fstat decides.
  const before = await lstat(path).catch((cause: unknown) => {
    throw openError(what, cause);
  });
  if (!before.isFile()) throw notRegular(what, before.isSymbolicLink());
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = constants;
  const handle = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY).catch(
    (cause: unknown) => {
      throw openError(what, cause);
    },
  );
  try {
    await requireRegular(handle, what);
  } catch (cause) {
    await handle.close();
    throw cause;
  }
  return handle;
}

/** Answers the size in bytes of an open regular file; kind `invalid` for anything else. */
export async function requireRegular(handle: FileHandle, what: string): Promise<number> {
  const found = await handle.stat();
  if (!found.isFile()) throw notRegular(what, false);
  return found.size;
}

/** Reads up to `length` bytes at `position`; fewer only at the end of the file. */
export async function readAt(
  handle: FileHandle,
  position: number,
  length: number,
): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

function notRegular(what: string, isLink: boolean): TrineError {
  return new TrineError(
    "invalid",
    isLink
      ? `${what} is a symbolic link, and those are not followed: give the file it leads to`
      : `${what} is not a regular file`,
  );
}

function openError(what: string, cause: unknown): TrineError {
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new TrineError("notFound", `${what} does not exist`, { cause });
  }
  if (code === "ELOOP") return notRegular(what, true);
  if (code === "EACCES" || code === "EPERM") {
    return new TrineError("forbidden", `${what} may not be read`, { cause });
  }
  return TrineError.during(`open ${what}`, cause);
}
