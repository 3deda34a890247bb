import { mkdir, rm, rmdir } from "node:fs/promises";
import { errnoOf } from "@trine/base";
import { startP9 } from "../p9-server.ts";
import type { PodContext } from "../pod-context.ts";

/** Key of the pod's file server at its shim. */
export const FILE_SERVER_KEY = "p9";

/** Starts the server of the pod's share. What is mounted below the share later is served too. Repeatable. */
export async function startFileServer(pod: PodContext): Promise<void> {
  const { shim, files, deps } = pod;
  await mkdir(files.shareDir, { recursive: true, mode: 0o700 });
  await shim.mount({ target: files.shareDir, shared: true });
  await startP9(shim, files, { key: FILE_SERVER_KEY, program: deps.config.microvms.fileServer });
}

/** Takes the share away once its server has ended and nothing is mounted below it. Repeatable. */
export async function removeShare({ shim, files }: PodContext): Promise<void> {
  await shim.unmount(files.shareDir);
  await rmdir(files.shareDir).catch((cause: unknown) => {
    if (errnoOf(cause) !== "ENOENT") throw cause;
  });
  await rm(files.shareSocket, { force: true });
}
