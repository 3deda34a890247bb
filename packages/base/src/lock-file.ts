import { spawn } from "node:child_process";
import { stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { TrineError, kindOf, messageOf } from "./trine-error.ts";

const HELD = 1;

type Ended = [code: number | null, by: NodeJS.Signals | null];

/**
 * Locks an open file until its handle is closed or this process ends, however it ends. False when another
 * holds it, and goes on to for `waitS` seconds. Kind `unavailable` without flock(1), `canceled` when `signal`
 * aborts or flock(1) hears a terminal's ^C first; whether it is locked then is not known: close the handle.
 *
 * Node cannot lock files: flock(1) locks the open file it is given as descriptor 3, which is ours as well, so
 * the lock stays when it exits.
 */
export async function lockFile(
  file: FileHandle,
  waitS = 0,
  signal?: AbortSignal,
): Promise<boolean> {
  const patience = waitS === 0 ? ["--nonblock"] : ["--timeout", `${waitS}`];
  const [code, endedBy] = await new Promise<Ended>((resolve, reject) => {
    const child = spawn("flock", ["--exclusive", ...patience, "3"], {
      stdio: ["ignore", "ignore", "ignore", file.fd],
      ...(signal && { signal }),
    });
    child.on("error", (cause) => {
      if (kindOf(cause) === "canceled") return; // it was told to end, and "close" says when it has
      const what = `flock: ${messageOf(cause)}; it is part of util-linux`;
      reject(new TrineError("unavailable", what, { cause }));
    });
    child.on("close", (...ended: Ended) => {
      resolve(ended);
    });
  });
  if (signal?.aborted === true || endedBy === "SIGINT") {
    throw new TrineError("canceled", "interrupted while a lock was waited for");
  }
  if (code === 0 || code === HELD) return code === 0;
  throw new TrineError("internal", `flock ended with ${code ?? endedBy ?? "a signal"}`);
}

/** Whether `path` is still this file: whoever held its lock before may have removed it. */
export async function isFileAt(file: FileHandle, path: string): Promise<boolean> {
  const [ours, there] = await Promise.all([
    file.stat(),
    stat(path).catch(() => undefined), // gone
  ]);
  return ours.ino === there?.ino;
}
