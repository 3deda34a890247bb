import { constants } from "node:fs";
import { open, realpath } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { chmod, chown, mkdir, rmdir, stat, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TrineError, errnoOf, messageOf } from "@trine/base";
import { bindDescriptor, unmountBelow } from "./mounts.ts";

/** Linux's; Node has no name for it. Such a descriptor names a place and reads nothing. */
const O_PATH = 0o10000000;
const PLACE = O_PATH | constants.O_NOFOLLOW;

/**
 * A path below a volume that only we write to: its links are ours. Kind `notFound` when it is not there,
 * `invalid` when it leads out.
 */
export async function resolveOwnSubPath(volume: string, subPath: string): Promise<string> {
  const root = await realpath(volume);
  const path = await realpath(join(root, subPath)).catch(() => undefined);
  if (path === undefined) throw new TrineError("notFound", `subPath ${subPath}: not in the volume`);
  if (path !== root && !path.startsWith(`${root}/`)) {
    throw new TrineError("invalid", `subPath ${subPath} leads out of the volume`);
  }
  return path;
}

/**
 * Mounts a path below a volume that pods write to at `target`, whatever they do meanwhile: each part is
 * opened from the one before it, no link is followed, and what was opened is what is mounted. Directories
 * that are not there are made with the volume's mode and group. Repeatable: an earlier mount goes first.
 */
export async function bindSubPath(volume: string, subPath: string, target: string): Promise<void> {
  await unmountBelow(target);
  await using place = await openBeneath(volume, subPath);
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  const isDirectory = (await place.stat()).isDirectory();
  if (isDirectory) await mkdir(target, { recursive: true, mode: 0o700 });
  else await writeFile(target, "", { mode: 0o600 });
  try {
    await bindDescriptor(place.fd, target);
  } catch (cause) {
    const left = await removePlace(target, isDirectory).catch(messageOf);
    const doing = left === undefined ? "" : ` (${left})`;
    throw TrineError.during(`subPath ${subPath}${doing}`, cause);
  }
}

/** The mount may have been made all the same (^C): what it shows is the pod's, and only the place under it goes. */
async function removePlace(target: string, isDirectory: boolean): Promise<undefined> {
  await unmountBelow(target);
  await (isDirectory ? rmdir(target) : unlink(target));
}

async function openBeneath(volume: string, subPath: string): Promise<FileHandle> {
  const { mode, gid } = await stat(volume);
  let place = await open(volume, O_PATH);
  try {
    for (const part of subPath.split("/").filter((each) => each !== "" && each !== ".")) {
      const next = await step(place, part, { mode: mode & 0o7777, gid, subPath });
      await place.close();
      place = next;
    }
    return place;
  } catch (cause) {
    await place.close();
    throw cause;
  }
}

/** As openat(2) of one name without following it; the directory is named by its descriptor. */
async function step(
  dir: FileHandle,
  part: string,
  how: { readonly mode: number; readonly gid: number; readonly subPath: string },
): Promise<FileHandle> {
  if (part === "..")
    throw new TrineError("invalid", `subPath ${how.subPath} leads out of the volume`);
  const path = join(nameOf(dir.fd), part);
  const made = await mkdir(path, { mode: how.mode }).then(
    () => true,
    (cause: unknown) => {
      if (errnoOf(cause) === "EEXIST" || errnoOf(cause) === "ENOTDIR") return false;
      throw cause;
    },
  );
  const place = await open(path, PLACE);
  try {
    const found = await place.stat();
    if (found.isSymbolicLink()) {
      throw new TrineError("invalid", `subPath ${how.subPath}: ${part} is a symbolic link`);
    }
    // What is root's directory is the one just made: what a pod put in its place is left as it is.
    if (made && found.isDirectory() && found.uid === 0) {
      await chown(nameOf(place.fd), 0, how.gid);
      await chmod(nameOf(place.fd), how.mode);
    }
    return place;
  } catch (cause) {
    await place.close();
    throw cause;
  }
}

function nameOf(descriptor: number): string {
  return `/proc/self/fd/${descriptor}`;
}
