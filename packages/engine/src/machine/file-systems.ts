import { rm } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import type { GuestFileSystem } from "@trine/cloud-init";
import type { ShimLink } from "@trine/shim-client";
import type { SharesDevice } from "@trine/vmm";
import { endChild } from "../end-child.ts";
import type { PodFiles } from "../pod-files.ts";
import { mountShare, planVolumes } from "../share-mounts.ts";
import { unmountAllIn } from "./disk-volumes.ts";
import type { MachineMount } from "./machine-mounts.ts";
import { startVirtiofs } from "./virtiofs-server.ts";

/** How the keys of their servers begin at the pod's shim. */
const KEY = "shares-";
/** As many as trine.dev/share-tags may name. */
const MOST = 8;

/** A volume of the machine's container that is a file system of its own. */
interface TaggedMount extends MachineMount {
  readonly tag: string;
}

/** Whether that child of the shim serves such a file system. */
export function isFileSystemServer(key: string): boolean {
  return key.startsWith(KEY);
}

/**
 * The volumes that have tags, and the others, both in the order they come in. Kind `invalid` for a tag of what is no volume
 * that the guest may have, and for more file systems than a machine takes.
 */
export function partedByTag(
  mounts: readonly MachineMount[],
  tags: Readonly<Record<string, string>>,
): { readonly tagged: readonly TaggedMount[]; readonly others: readonly MachineMount[] } {
  const tagOf = new Map(Object.entries(tags).map(([tag, path]) => [path, tag] as const));
  const has = mounts.map(({ target }) => target);
  const unknown = [...tagOf.keys()].find((path) => !has.includes(path));
  if (unknown !== undefined) {
    const what = `no volume for the guest is mounted at ${unknown}`;
    refuse(has.length === 0 ? what : `${what}; there are ${has.join(", ")}`);
  }
  const tagged = mounts.flatMap((mount) => {
    const tag = tagOf.get(mount.target);
    return tag === undefined ? [] : [{ ...mount, tag }];
  });
  const others = mounts.filter(({ target }) => !tagOf.has(target));
  if (others.length > 0 && tagged.length >= MOST) {
    const rest = others.map(({ target }) => target).join(", ");
    const what = `has ${tagged.length} tags, and the other volumes (${rest}) are a file system together`;
    refuse(`${what}: a machine has at most ${MOST}: leave one out`);
  }
  return { tagged, others };
}

function refuse(why: string): never {
  throw new TrineError("invalid", `trine.dev/share-tags: ${why}`);
}

/** Mounts each at its tag and starts its server. Repeatable. */
export async function startFileSystems(
  shim: ShimLink,
  files: PodFiles,
  mounts: readonly TaggedMount[],
  server: { readonly program: string; readonly uid: number },
): Promise<readonly SharesDevice[]> {
  const planned = await planVolumes(
    files.fileSystemsDir,
    mounts.map(({ share, tag }) => ({ ...share, name: tag })),
  );
  const file = mounts.find((_, index) => planned[index]?.kind === "file");
  if (file !== undefined) {
    refuse(`what is mounted at ${file.target} is a file, and a file system is a directory`);
  }
  await mountShare(shim, planned);
  const devices: SharesDevice[] = [];
  for (const [index, { tag, share }] of mounts.entries()) {
    const key = `${KEY}${index}`;
    const socket = `${key}.sock`;
    const dir = join(files.fileSystemsDir, tag);
    await startVirtiofs(shim, files, {
      ...server,
      ...{ key, socket, logPath: shareLogOf(files, key) },
      share: { dir, writable: !share.readOnly },
    });
    devices.push({ way: "virtiofs", tag, socket });
  }
  return devices;
}

export function guestFileSystem({ tag, target, share }: TaggedMount): GuestFileSystem {
  return { tag, target, readOnly: share.readOnly };
}

/** Ends their servers and takes their mounts off. Repeatable. */
export async function removeFileSystems(shim: ShimLink, files: PodFiles): Promise<void> {
  const { children } = await shim.describe();
  for (const { key } of children) if (isFileSystemServer(key)) await endChild(shim, key);
  await unmountAllIn(shim, files.fileSystemsDir);
  for (let index = 0; index < MOST; index++) {
    await rm(shareLogOf(files, `${KEY}${index}`), { force: true });
  }
}

/** What a server has said. */
export function shareLogOf(files: PodFiles, key: string): string {
  return isFileSystemServer(key) ? join(files.podDir, `${key}.log`) : files.shareLog;
}
