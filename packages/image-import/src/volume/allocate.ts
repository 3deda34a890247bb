import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { TrineError } from "@trine/base";
import { fillHoles } from "./fill-holes.ts";

/** As fallocate(1) says that the file system has no such call. */
const UNSUPPORTED = /not supported|unsupported/;
/** The same of what a write fails with on a file system that is full. */
const FULL = /No space left on device|Disk quota exceeded|File too large/;

/**
 * Gives a file all the space that its size comes to; what it holds stays. A file system that cannot is written to instead.
 * Kind `exhausted` where there is not so much.
 */
export async function allocate(handle: FileHandle, signal: AbortSignal): Promise<void> {
  const { size } = await handle.stat();
  if (size === 0 || (await fallocate(handle, ["--length", String(size)], signal))) return;
  await fillHoles(handle, signal);
}

/**
 * Space for a file that is to have so many bytes, whatever its size is now. Kind `exhausted` where there is not so much;
 * a file system that cannot says it when all is written.
 */
export async function reserve(
  handle: FileHandle,
  bytes: number,
  signal: AbortSignal,
): Promise<void> {
  await fallocate(handle, ["--keep-size", "--length", String(bytes)], signal);
}

/** False: the file system cannot. */
async function fallocate(
  handle: FileHandle,
  args: readonly string[],
  signal: AbortSignal,
): Promise<boolean> {
  // Of a volume that others had: by its descriptor it is this file, whatever has its name by then.
  const child = spawn("fallocate", [...args, "/proc/self/fd/0"], {
    stdio: [handle.fd, "ignore", "pipe"],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
    signal,
  }) as ChildProcess & { readonly stderr: Readable };
  const [[code], words] = await Promise.all([
    once(child, "close") as Promise<[code: number | null]>,
    text(child.stderr),
  ]).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw cause;
  });
  if (code === 0) return true;
  if (UNSUPPORTED.test(words)) return false;
  const what = "the space for the disk cannot be allocated";
  if (FULL.test(words)) {
    throw new TrineError("exhausted", `${what}: no space is left on the disk`);
  }
  const why = words.trim().slice(0, 300);
  throw new TrineError("invalid", `${what}: ${why}: make the DataVolume without preallocation`);
}
