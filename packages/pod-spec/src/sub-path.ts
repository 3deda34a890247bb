import { chmod, chown, lstat, mkdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, errnoOf } from "@trine/base";

/**
 * A path below a volume for a mount of its own; directories that are not there are made with the volume's
 * mode. In volumes that pods write to no link is followed: a pod could have put it there.
 */
export async function resolveSubPath(
  volume: string,
  subPath: string,
  trusted: boolean,
): Promise<string> {
  if (trusted) return inside(volume, subPath);
  const { mode, gid } = await stat(volume);
  let path = volume;
  for (const part of subPath.split("/").filter((each) => each !== "" && each !== ".")) {
    path = join(path, part);
    const found = await lstat(path).catch((cause: unknown) => {
      if (errnoOf(cause) === "ENOENT") return undefined;
      throw cause;
    });
    if (found === undefined) {
      await mkdir(path, { mode: mode & 0o7777 });
      await chown(path, 0, gid);
      await chmod(path, mode & 0o7777);
    } else if (found.isSymbolicLink()) {
      throw new TrineError("invalid", `subPath ${subPath}: ${part} is a symbolic link`);
    }
  }
  return path;
}

/** Files that we wrote ourselves: their links are ours. */
async function inside(volume: string, subPath: string): Promise<string> {
  const root = await realpath(volume);
  const path = await realpath(join(root, subPath)).catch(() => undefined);
  if (path === undefined) throw new TrineError("notFound", `subPath ${subPath}: not in the volume`);
  if (path !== root && !path.startsWith(`${root}/`)) {
    throw new TrineError("invalid", `subPath ${subPath} leads out of the volume`);
  }
  return path;
}
