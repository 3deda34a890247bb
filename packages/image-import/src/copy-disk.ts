import { constants } from "node:fs";
import { copyFile, open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { TrineError, errnoOf } from "@trine/base";
import type { OnProgress } from "./limits.ts";
import { writeSparse } from "./write-sparse.ts";

const CHUNK_BYTES = 4 * 1024 * 1024;
/** File systems, or a pair of them, that cannot share blocks of two files. */
const CANNOT_CLONE = ["ENOTSUP", "EOPNOTSUPP", "EXDEV", "EINVAL", "ENOTTY", "ENOSYS"];

/**
 * Copies the file that was opened, whatever has its name by now, into a new one, with holes for zeros; shares its
 * blocks where the file system can. Kind `conflict` when the file changes meanwhile.
 */
export async function copyDisk(
  from: FileHandle,
  path: string,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<FileHandle> {
  const before = await from.stat({ bigint: true });
  const isShared = await cloned(from, path);
  const to = await open(path, isShared ? "r+" : "wx+", 0o600);
  try {
    if (!isShared) await copyBytes({ from, to, total: Number(before.size) }, onProgress, signal);
    const after = await from.stat({ bigint: true });
    if (before.size !== after.size || before.mtimeNs !== after.mtimeNs) throw fileChanged();
    return to;
  } catch (cause) {
    await to.close();
    throw cause;
  }
}

export function fileChanged(): TrineError {
  const advice = "stop what writes to it, then repeat";
  return new TrineError("conflict", `the file changed while it was read: ${advice}`);
}

async function cloned(from: FileHandle, path: string): Promise<boolean> {
  try {
    const { COPYFILE_EXCL, COPYFILE_FICLONE_FORCE } = constants;
    await copyFile(`/proc/self/fd/${from.fd}`, path, COPYFILE_EXCL | COPYFILE_FICLONE_FORCE);
    return true;
  } catch (cause) {
    if (CANNOT_CLONE.includes(errnoOf(cause) ?? "")) return false;
    throw cause;
  }
}

interface Copying {
  readonly from: FileHandle;
  readonly to: FileHandle;
  readonly total: number;
}

async function copyBytes(
  { from, to, total }: Copying,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<void> {
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, total));
  for (let at = 0; at < total;) {
    signal.throwIfAborted();
    const { bytesRead } = await from.read(buffer, 0, Math.min(buffer.length, total - at), at);
    if (bytesRead === 0) throw fileChanged();
    await writeSparse(to, buffer.subarray(0, bytesRead), at);
    at += bytesRead;
    onProgress({ step: "read", done: at, total });
  }
  await to.truncate(total);
}
