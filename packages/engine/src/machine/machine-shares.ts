import { chown, readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { Undo } from "@trine/base";
import type { GuestMount } from "@trine/cloud-init";
import type { ShimLink } from "@trine/shim-client";
import type { SharesSpec } from "@trine/vmm";
import type { EngineConfig } from "../deps.ts";
import { endChild } from "../end-child.ts";
import { findProgram } from "../find-program.ts";
import { libraryBinds } from "../library-binds.ts";
import type { PodFiles } from "../pod-files.ts";
import { mountShare, planVolumes } from "../share-mounts.ts";
import { unmountAllIn } from "./disk-volumes.ts";
import type { MachineInput } from "./machine-input.ts";
import { machineMounts } from "./machine-mounts.ts";

/** Key of the server at the pod's shim. */
export const SHARES_KEY = "shares";
/** By which the guest mounts them. */
const SHARES_TAG = "trine";
const SOCKET = "shares.sock";
/** Program and share, as the server's own root has them. */
const PROGRAM = "/virtiofsd";
const SHARE = "/share";
const LISTEN_FD = 3;
const LOG_CHARS = 1000;
/** A descriptor for every file a guest may hold, twice, and some of its own. */
const MAX_OPEN_FILES = 131_328n;
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

interface Places {
  readonly shim: ShimLink;
  readonly config: EngineConfig;
  readonly undo: Undo;
}

/** The shares of a machine and where its guest is to have them. */
export interface MachineShares {
  readonly spec: SharesSpec;
  readonly mounts: readonly GuestMount[];
}

/** What the firmware and the TPM keep is not for the guest: it would read its own TPM's secrets. */
function stateOf({ statePath }: MachineInput["settings"]): Parameters<typeof machineMounts>[1] {
  return statePath === undefined ? [] : [{ source: { kind: "file", path: statePath } }];
}

/**
 * Mounts the container's volumes below the pod's share and starts what serves them; undefined when there is nothing to
 * serve. Repeatable. Kind `wrongState` on a node without such a program.
 */
export async function machineShares(
  { shim, config, undo }: Places,
  { bundle, settings, files, uid }: MachineInput,
): Promise<MachineShares | undefined> {
  if (settings.shares === "off") return undefined;
  const mounts = machineMounts(bundle.spec, [...settings.disks, ...stateOf(settings)]);
  if (mounts.length === 0) return undefined;
  const program = await serverProgram(config, mounts.length);
  const planned = await planVolumes(
    files.shareDir,
    mounts.map(({ share }) => share),
  );
  undo.defer("take the shares apart", () => removeShares(shim, files));
  await mountShare(shim, planned);
  await startServer(shim, files, { program, uid });
  const guest = mounts.map(({ share: { name, readOnly }, target }, index) => {
    return { name, target, readOnly, kind: planned[index]?.kind ?? "directory" };
  });
  return { spec: { way: "virtiofs", tag: SHARES_TAG, socket: SOCKET }, mounts: guest };
}

/** Ends the server and takes its mounts off. Repeatable. */
export async function removeShares(shim: ShimLink, files: PodFiles): Promise<void> {
  await endChild(shim, SHARES_KEY);
  await unmountAllIn(shim, files.shareDir);
  await rm(files.shareLog, { force: true });
}

/** A machine that did not start, with the server's own words where the server has ended. */
export async function withServerWords(
  { shim, files }: { readonly shim: ShimLink; readonly files: PodFiles },
  cause: unknown,
): Promise<unknown> {
  const { children } = await shim.describe();
  if (!children.some(({ key, running }) => key === SHARES_KEY && !running)) return cause;
  const words = (await readFile(files.shareLog, "utf8").catch(() => "")).trim().slice(-LOG_CHARS);
  const what = `${messageOf(cause)}; what serves its volumes has ended: ${words}`;
  return new TrineError(kindOf(cause), what, { cause });
}

async function serverProgram({ machines }: EngineConfig, count: number): Promise<string> {
  const places = [machines.virtiofsd, OLD_PLACE];
  const found = await findProgram(places);
  if (found !== undefined) return found;
  throw new TrineError(
    "wrongState",
    `${count} volumes of the machine are directories, which ${basename(machines.virtiofsd)} serves, and there is none at ` +
      `${places.join(" or ")}: install the package virtiofsd, or leave them out with trine.dev/shares: off`,
  );
}

/** A child of the shim that sees the share, its libraries and nothing else of the host. It ends with the VMM. */
async function startServer(
  shim: ShimLink,
  files: PodFiles,
  { program, uid }: { readonly program: string; readonly uid: number },
): Promise<void> {
  const socket = join(files.machineDir, SOCKET);
  // Of a Create that was cut off: its socket is gone with the machine's directory, and no VMM has met it.
  await endChild(shim, SHARES_KEY);
  await shim.spawn({
    key: SHARES_KEY,
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
        // Not writable itself: a guest must not put links where mounts are to come. Those bring their own right.
        { source: files.shareDir, target: SHARE, live: true },
      ],
      newNetwork: true,
      newPid: true,
    },
    logPath: files.shareLog,
    // It serves files of all owners; the rest it drops before it serves.
    keepCapabilities: true,
    maxOpenFiles: MAX_OPEN_FILES,
  });
  await chown(socket, uid, uid); // the VMM's
}
