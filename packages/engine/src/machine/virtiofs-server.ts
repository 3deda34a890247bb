import { chown } from "node:fs/promises";
import { basename, join } from "node:path";
import { TrineError } from "@trine/base";
import type { ShimLink } from "@trine/shim-client";
import { endChild } from "../end-child.ts";
import { findProgram } from "../find-program.ts";
import { libraryBinds } from "../library-binds.ts";
import { SHARE_OPEN_FILES } from "../p9-server.ts";
import type { PodFiles } from "../pod-files.ts";

/** Program and share, as the server's own root has them. */
const PROGRAM = "/virtiofsd";
const SHARE = "/share";
const LISTEN_FD = 3;
/** Where the VMM's package has it, where there is none of its own. */
const OLD_PLACE = "/usr/lib/qemu/virtiofsd";
/** What it reads of the kernel, before it is shut into the share. */
const KERNEL_FILES = [
  ...["/proc/self/fd", "/proc/self/task", "/proc/self/mountinfo"],
  ...["/proc/sys/fs/file-max", "/proc/sys/fs/nr_open"],
];
/**
 * What virtiofsd of QEMU 5.0 to 7.2 and its successor in Rust both understand. Its jail is ours; "auto" looks at
 * a name again after a second, and at a file when it is opened. No mount has the inode numbers of another.
 */
const OPTIONS = `source=${SHARE},sandbox=chroot,cache=auto,xattr,announce_submounts,modcaps=-mknod`;

/** Kind `wrongState` on a node without such a program; `count` volumes need it. */
export async function virtiofsProgram(configured: string, count: number): Promise<string> {
  const places = [configured, OLD_PLACE];
  const found = await findProgram(places);
  if (found !== undefined) return found;
  throw new TrineError(
    "wrongState",
    `${count} volumes of the machine are directories, which ${basename(configured)} serves, and there is none at ` +
      `${places.join(" or ")}: install the package virtiofsd, or leave them out with trine.dev/shares: off`,
  );
}

/** Who serves what to which VMM. */
interface VirtiofsServer {
  /** Of the child at the pod's shim. */
  readonly key: string;
  readonly program: string;
  /** The VMM's. */
  readonly uid: number;
  /** A name in the machine's directory. */
  readonly socket: string;
  /** All that it sees of the host. What is mounted below `dir` brings a right of its own. */
  readonly share: { readonly dir: string; readonly writable: boolean };
  readonly logPath: string;
}

/** A child of the shim that sees the share, its libraries and nothing else of the host. It ends with the VMM. */
export async function startVirtiofs(
  shim: ShimLink,
  files: PodFiles,
  { key, program, uid, share, logPath, ...named }: VirtiofsServer,
): Promise<void> {
  const socket = join(files.machineDir, named.socket);
  // Of a Create that was cut off: its socket is gone with the machine's directory, and no VMM has met it.
  await endChild(shim, key);
  await shim.spawn({
    key,
    argv: [PROGRAM, `--fd=${LISTEN_FD}`, "--rlimit-nofile=0", "-o", OPTIONS],
    env: [],
    descriptors: [
      { number: LISTEN_FD, source: { case: "listen", value: { path: socket, mode: 0o600 } } },
    ],
    jail: {
      binds: [
        { source: program, target: PROGRAM },
        ...(await libraryBinds()),
        ...KERNEL_FILES.map((path) => ({ source: path, target: path })),
        { source: share.dir, target: SHARE, live: true, writable: share.writable },
      ],
      newNetwork: true,
      newPid: true,
    },
    logPath,
    // It serves files of all owners; the rest it drops before it serves.
    keepCapabilities: true,
    maxOpenFiles: SHARE_OPEN_FILES,
  });
  await chown(socket, uid, uid); // the VMM's
}
