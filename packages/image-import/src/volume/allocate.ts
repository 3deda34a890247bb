import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { TrineError } from "@trine/base";

/**
 * Gives a file all the space that its size comes to; what it holds stays. Kind `exhausted` where there is not so much,
 * `invalid` on a file system that cannot.
 */
export async function allocate(handle: FileHandle): Promise<void> {
  const { size } = await handle.stat();
  if (size === 0) return;
  // Of a volume that others had: by its descriptor it is this file, whatever has its name by then.
  const args = ["--length", String(size), "/proc/self/fd/0"];
  const child = spawn("fallocate", args, {
    stdio: [handle.fd, "ignore", "pipe"],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
  }) as ChildProcess & { readonly stderr: Readable };
  const [[code], words] = await Promise.all([
    once(child, "close") as Promise<[code: number | null]>,
    text(child.stderr),
  ]);
  if (code === 0) return;
  const what = `cannot allocate ${size} bytes`;
  if (words.includes("No space left on device")) {
    throw new TrineError("exhausted", `${what}: no space is left on the disk`);
  }
  const why = words.trim().slice(0, 300);
  throw new TrineError("invalid", `${what}: ${why}: make the DataVolume without preallocation`);
}
