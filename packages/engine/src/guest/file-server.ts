import { mkdir, rm, rmdir } from "node:fs/promises";
import { errnoOf } from "@trine/base";
import type { PodContext } from "../pod-context.ts";

/** Key of the pod's file server at its shim. */
export const FILE_SERVER_KEY = "p9";
/** First word of the streams that the guest opens for it. */
const SERVES = "9p";
/** Program and share, as the server's own root has them. */
const PROGRAM = "/trine-p9";
const SHARE = "/share";
const LISTEN_FD = 3;
/** A descriptor for every file a guest may hold, twice, and some of its own. */
const MAX_OPEN_FILES = 131_328n;

/**
 * Starts the server of the pod's share: a child of the shim that sees the share and nothing else of the
 * host. What is mounted below the share later is served too. Repeatable.
 */
export async function startFileServer(pod: PodContext): Promise<void> {
  const { shim, files, deps } = pod;
  await mkdir(files.shareDir, { recursive: true, mode: 0o700 });
  await shim.mount({ target: files.shareDir, shared: true });
  await shim.spawn({
    key: FILE_SERVER_KEY,
    argv: [PROGRAM, "--listen-fd", `${LISTEN_FD}`, "--root", SHARE],
    env: [],
    descriptors: [
      {
        number: LISTEN_FD,
        source: {
          case: "listen",
          value: { path: files.shareSocket, mode: 0o600, serves: SERVES },
        },
      },
    ],
    jail: {
      binds: [
        { source: deps.config.microvms.fileServer, target: PROGRAM },
        // Not writable itself: a guest must not put links where mounts are to come. Those bring their own right.
        { source: files.shareDir, target: SHARE, live: true },
      ],
      newNetwork: true,
    },
    logPath: files.shareLog,
    // It serves files of all owners; the rest it drops before it listens.
    keepCapabilities: true,
    maxOpenFiles: MAX_OPEN_FILES,
  });
}

/** Takes the share away once its server has ended and nothing is mounted below it. Repeatable. */
export async function removeShare({ shim, files }: PodContext): Promise<void> {
  await shim.unmount(files.shareDir);
  await rmdir(files.shareDir).catch((cause: unknown) => {
    if (errnoOf(cause) !== "ENOENT") throw cause;
  });
  await rm(files.shareSocket, { force: true });
}
