import { readFile, rm } from "node:fs/promises";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { Undo } from "@trine/base";
import type { GuestFileSystem, GuestMount } from "@trine/cloud-init";
import type { ShimLink } from "@trine/shim-client";
import type { MachineSpec } from "@trine/vmm";
import type { EngineConfig } from "../deps.ts";
import { endChild } from "../end-child.ts";
import { startP9 } from "../p9-server.ts";
import type { PodFiles } from "../pod-files.ts";
import { mountShare, planVolumes } from "../share-mounts.ts";
import { unmountAllIn } from "./disk-volumes.ts";
import {
  guestFileSystem,
  isFileSystemServer,
  partedByTag,
  removeFileSystems,
  shareLogOf,
  startFileSystems,
} from "./file-systems.ts";
import type { MachineInput } from "./machine-input.ts";
import { machineMounts } from "./machine-mounts.ts";
import type { MachineMount } from "./machine-mounts.ts";
import { startVirtiofs, virtiofsProgram } from "./virtiofs-server.ts";

/** Key of the server at the pod's shim. */
export const SHARES_KEY = "shares";
/** By which the guest mounts them. */
const SHARES_TAG = "trine";
/** The server's socket in the machine's directory. */
const SHARES_SOCKET = "shares.sock";
const LOG_CHARS = 1000;

interface Places {
  readonly shim: ShimLink;
  readonly config: EngineConfig;
  readonly undo: Undo;
}

/** The shares of a machine and where its guest is to have them. */
export interface MachineShares {
  readonly spec: Pick<MachineSpec, "shares" | "fileSystems">;
  /** Those of one tree. */
  readonly mounts: readonly GuestMount[];
  /** Those with tags of their own. */
  readonly fileSystems: readonly GuestFileSystem[];
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
  const { shares: way } = settings;
  if (way === "off") return undefined;
  const mounts = machineMounts(bundle.spec, [...settings.disks, ...stateOf(settings)]);
  // Also where there is no volume at all: a tag of one that was forgotten is refused.
  const { tagged, others } = partedByTag(mounts, settings.shareTags);
  if (mounts.length === 0) return undefined;
  const { virtiofsd } = config.machines;
  const program = way === "9p" ? undefined : await virtiofsProgram(virtiofsd, mounts.length);
  undo.defer("take the shares apart", () => removeShares(shim, files));
  const guest = await mountTree(shim, files, others);
  if (program === undefined) {
    // Of a Create that was cut off: it may have ended, and no VMM has met it.
    await endChild(shim, SHARES_KEY);
    await startP9(shim, files, { key: SHARES_KEY, program: config.microvms.fileServer });
    return { spec: { shares: { way: "9p" } }, mounts: guest, fileSystems: [] };
  }
  const spec = others.length === 0 ? {} : await startTree(shim, files, { program, uid });
  if (tagged.length === 0) return { spec, mounts: guest, fileSystems: [] };
  const fileSystems = await startFileSystems(shim, files, tagged, { program, uid });
  return {
    spec: { ...spec, fileSystems },
    mounts: guest,
    fileSystems: tagged.map(guestFileSystem),
  };
}

async function mountTree(
  shim: ShimLink,
  files: PodFiles,
  mounts: readonly MachineMount[],
): Promise<GuestMount[]> {
  const planned = await planVolumes(
    files.shareDir,
    mounts.map(({ share }) => share),
  );
  await mountShare(shim, planned);
  return mounts.map(({ share: { name, readOnly }, target }, index) => {
    return { name, target, readOnly, kind: planned[index]?.kind ?? "directory" };
  });
}

async function startTree(
  shim: ShimLink,
  files: PodFiles,
  server: { readonly program: string; readonly uid: number },
): Promise<Pick<MachineSpec, "shares">> {
  await startVirtiofs(shim, files, {
    ...server,
    ...{ key: SHARES_KEY, socket: SHARES_SOCKET, logPath: files.shareLog },
    // Not writable itself: a guest must not put links where mounts are to come.
    share: { dir: files.shareDir, writable: false },
  });
  return { shares: { way: "virtiofs", tag: SHARES_TAG, socket: SHARES_SOCKET } };
}

/** Ends the servers and takes their mounts off. Repeatable. */
export async function removeShares(shim: ShimLink, files: PodFiles): Promise<void> {
  await removeFileSystems(shim, files);
  await endChild(shim, SHARES_KEY);
  await unmountAllIn(shim, files.shareDir);
  for (const path of [files.shareLog, files.shareSocket]) await rm(path, { force: true });
}

/** A machine that did not start, with the server's own words where the server has ended. */
export async function withServerWords(
  { shim, files }: { readonly shim: ShimLink; readonly files: PodFiles },
  cause: unknown,
): Promise<unknown> {
  const { children } = await shim.describe();
  const ended = children.find(
    ({ key, running }) => (key === SHARES_KEY || isFileSystemServer(key)) && !running,
  );
  if (ended === undefined) return cause;
  const log = await readFile(shareLogOf(files, ended.key), "utf8").catch(() => "");
  const words = log.trim().slice(-LOG_CHARS);
  const what = `${messageOf(cause)}; what serves its volumes has ended: ${words}`;
  return new TrineError(kindOf(cause), what, { cause });
}
