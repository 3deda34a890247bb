import { spawn } from "node:child_process";
import { mkdir, open, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, messageOf } from "@trine/base";

/** Under it mounts and small files are made: seconds at most. */
const WAIT_S = 60;
const HELD = 1;

/** A pod's lock, held until it is disposed of or this process ends, however it ends. */
interface PodLock extends AsyncDisposable {
  /** Removed by the one who holds it, with the pod. */
  readonly path: string;
}

/** Waits for the lock of a pod in `dir`; kind `timeout` when another holds it for long. */
export async function lockPod(dir: string, uid: string): Promise<PodLock> {
  const path = join(dir, uid);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  for (;;) {
    const handle = await open(path, "a", 0o600);
    try {
      await lock(handle, uid);
      // Whoever held it may have removed the file that we have locked.
      if (await isAt(handle, path)) {
        return { path, [Symbol.asyncDispose]: () => handle.close() };
      }
    } catch (cause) {
      await handle.close();
      throw cause;
    }
    await handle.close();
  }
}

/** Node cannot lock files: flock(1) locks the open file it is given as descriptor 3, which is ours as well. */
async function lock(handle: FileHandle, uid: string): Promise<void> {
  const code = await new Promise<number | null>((resolve, reject) => {
    const child = spawn("flock", ["--exclusive", "--timeout", `${WAIT_S}`, "3"], {
      stdio: ["ignore", "ignore", "ignore", handle.fd],
    });
    child.on("error", (cause) => {
      const what = `flock: ${messageOf(cause)}; it is part of util-linux`;
      reject(new TrineError("unavailable", what, { cause }));
    });
    child.on("close", resolve);
  });
  if (code === 0) return;
  if (code === HELD) {
    throw new TrineError("timeout", `pod ${uid}: another trine is at work on it: try again`);
  }
  throw new TrineError("internal", `flock ended with ${code ?? "a signal"}`);
}

async function isAt(handle: FileHandle, path: string): Promise<boolean> {
  const [ours, there] = await Promise.all([
    handle.stat(),
    stat(path).catch(() => undefined), // gone
  ]);
  return ours.ino === there?.ino;
}
