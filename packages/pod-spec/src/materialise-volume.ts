import type { Stats } from "node:fs";
import { chmod, lchown, lstat, mkdir, open, opendir, realpath, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TrineError, errnoOf, messageOf } from "@trine/base";
import { writeAtomically } from "./atomic-files.ts";
import { mountTmpfs } from "./mounts.ts";
import type { VolumePlan } from "./volume-plan.ts";
import type { HostPathType } from "./volume-schema.ts";

/** Where the volumes of one pod lie. */
export interface VolumeHome {
  /** On disk: emptyDir. */
  readonly disk: string;
  /** On tmpfs: Secrets and all other files, emptyDir in memory. */
  readonly memory: string;
}

/** Makes a volume; answers its path on the node. Repeatable. Images are the runtime's to make. */
export async function materialiseVolume(
  name: string,
  plan: Exclude<VolumePlan, { kind: "image" }>,
  home: VolumeHome,
  fsGroup: number | undefined,
): Promise<string> {
  try {
    const path = await make(name, plan, home);
    const writable = plan.kind !== "files";
    if (
      fsGroup !== undefined &&
      plan.kind !== "host" &&
      !(plan.kind === "claim" && plan.readOnly)
    ) {
      await giveToGroup(path, fsGroup, writable);
    }
    return path;
  } catch (cause) {
    throw TrineError.during(`volume ${name}`, cause);
  }
}

async function make(
  name: string,
  plan: Exclude<VolumePlan, { kind: "image" }>,
  home: VolumeHome,
): Promise<string> {
  switch (plan.kind) {
    case "directory":
      return openDirectory(join(home.disk, name));
    case "tmpfs": {
      const path = await openDirectory(join(home.memory, name));
      await mountTmpfs(path, plan.sizeBytes);
      return path;
    }
    case "files": {
      const path = join(home.memory, name);
      await writeAtomically(path, plan.files);
      return path;
    }
    case "claim":
      await requireType(plan.path, "Directory");
      return realpath(plan.path);
    case "host":
      await requireType(plan.path, plan.type);
      return plan.path;
  }
}

/** An emptyDir is everybody's. */
async function openDirectory(path: string): Promise<string> {
  await mkdir(path, { recursive: true });
  await chmod(path, 0o777);
  return path;
}

const IS: Readonly<Record<string, (found: Stats) => boolean>> = {
  Directory: (found) => found.isDirectory(),
  File: (found) => found.isFile(),
  Socket: (found) => found.isSocket(),
  CharDevice: (found) => found.isCharacterDevice(),
  BlockDevice: (found) => found.isBlockDevice(),
};

/** hostPath's types; "" takes what is there and makes a directory of what is not, as runtimes do. */
async function requireType(path: string, type: HostPathType): Promise<void> {
  const found = await stat(path).catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw new TrineError("invalid", `${path}: ${messageOf(cause)}`, { cause });
  });
  if (found === undefined) {
    if (type === "" || type === "DirectoryOrCreate") await mkdir(path, { recursive: true });
    else if (type === "FileOrCreate") await touch(path);
    else throw new TrineError("notFound", `${path} does not exist, a ${type} is wanted`);
    return;
  }
  const wanted = type.replace("OrCreate", "");
  if (wanted !== "" && IS[wanted]?.(found) !== true) {
    throw new TrineError("invalid", `${path} is no ${wanted}`);
  }
}

async function touch(path: string): Promise<void> {
  await stat(dirname(path)).catch(() => {
    throw new TrineError("notFound", `${dirname(path)} does not exist`);
  });
  await (await open(path, "a", 0o644)).close();
}

/** As kubelet's SetVolumeOwnership: group, its rights, and setgid on directories. Links stay. */
async function giveToGroup(path: string, gid: number, writable: boolean): Promise<void> {
  const found = await lstat(path);
  if (found.isSymbolicLink()) return;
  await lchown(path, found.uid, gid);
  const rights = writable ? 0o660 : 0o440;
  const more = found.isDirectory() ? 0o2110 : 0;
  await chmod(path, (found.mode & 0o7777) | rights | more);
  if (!found.isDirectory()) return;
  for await (const entry of await opendir(path)) {
    await giveToGroup(join(path, entry.name), gid, writable);
  }
}
