import {
  mkdir,
  mkdtemp,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
  chmod,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { errnoOf } from "@trine/base";
import { removeTree } from "./remove-tree.ts";
import type { VolumeFile } from "./volume-plan.ts";

const DATA = "..data";

/**
 * Writes a volume's files so that a reader sees all old or all new ones, as kubelet does: they lie in a
 * directory of their own, `..data` leads to it, and each name at the top leads through `..data`.
 * Repeatable; what an earlier call left and this one does not name goes.
 */
export async function writeAtomically(dir: string, files: readonly VolumeFile[]): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o755 });
  const before = await readlink(join(dir, DATA)).catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw cause;
  });
  const fresh = await mkdtemp(join(dir, `..${stamp()}.`));
  await chmod(fresh, 0o755);
  for (const file of files) {
    const path = join(fresh, file.path);
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await writeFile(path, file.data, { mode: file.mode });
    await chmod(path, file.mode); // whatever the umask is
  }
  const link = join(dir, "..data_tmp");
  await rm(link, { force: true });
  await symlink(basename(fresh), link);
  await rename(link, join(dir, DATA));
  await linkNames(dir, new Set(files.map(({ path }) => path.split("/")[0] ?? "")));
  if (before !== undefined) await removeTree(join(dir, basename(before)));
}

async function linkNames(dir: string, names: ReadonlySet<string>): Promise<void> {
  const present = new Set((await readdir(dir)).filter((name) => !name.startsWith("..")));
  for (const name of names) {
    if (!present.has(name)) await symlink(join(DATA, name), join(dir, name));
  }
  for (const name of present) {
    if (!names.has(name)) await removeTree(join(dir, name));
  }
}

/** `2026_11_21_13_05_59` */
function stamp(): string {
  return new Date().toISOString().slice(0, 19).replaceAll(/[-T:]/g, "_");
}
