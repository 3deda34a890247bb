import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, isFileAt, lockFile } from "@trine/base";

/** A pod's lock, held until it is disposed of or this process ends, however it ends. */
interface PodLock extends AsyncDisposable {
  /** Removed by the one who holds it, with the pod. */
  readonly path: string;
}

/** How long a lock that another holds is waited for; an abort ends that. */
export interface LockWait {
  readonly waitS: number;
  readonly signal?: AbortSignal;
}

/**
 * Waits for the lock of a pod in `dir`; kind `conflict` when another holds it for longer than `waitS`, `canceled`
 * when `signal` aborts.
 */
export async function lockPod(dir: string, uid: string, wait: LockWait): Promise<PodLock> {
  const path = join(dir, uid);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  for (;;) {
    const handle = await open(path, "a", 0o600);
    try {
      if (!(await lockFile(handle, wait.waitS, wait.signal))) {
        throw new TrineError("conflict", `pod ${uid}: another trine is at work on it: try again`);
      }
      // Whoever held it may have removed the file that we have locked.
      if (await isFileAt(handle, path)) {
        return { path, [Symbol.asyncDispose]: () => handle.close() };
      }
    } catch (cause) {
      await handle.close();
      throw cause;
    }
    await handle.close();
  }
}
