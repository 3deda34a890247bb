import type { ShimLink } from "@trine/shim-client";
import type { PodFiles } from "./pod-files.ts";

/** First word of the streams that the guest opens for it. */
const SERVES = "9p";
/** Program and share, as the server's own root has them. */
const PROGRAM = "/trine-p9";
const SHARE = "/share";
const LISTEN_FD = 3;
/** A descriptor for every file a guest may hold, twice, and some of its own. */
export const SHARE_OPEN_FILES = 131_328n;

/**
 * Starts trine-p9 for streams of the guest link: a child of the shim, under `key`, that sees the pod's share and nothing
 * else of the host. Of the share it serves what propagates into it later too. Repeatable.
 */
export async function startP9(
  shim: ShimLink,
  files: PodFiles,
  { key, program }: { readonly key: string; readonly program: string },
): Promise<void> {
  await shim.spawn({
    key,
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
        { source: program, target: PROGRAM },
        // Not writable itself: a guest must not put links where mounts are to come. Those bring their own right.
        { source: files.shareDir, target: SHARE, live: true },
      ],
      newNetwork: true,
    },
    logPath: files.shareLog,
    // It serves files of all owners; the rest it drops before it listens.
    keepCapabilities: true,
    maxOpenFiles: SHARE_OPEN_FILES,
  });
}
