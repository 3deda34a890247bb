import { constants } from "node:fs";
import { lstat, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, errnoOf } from "@trine/base";
import type { LayerPrototype } from "./layer-prototype.ts";

/** Trine's own directory in a container's writable layer: counted, limited and deleted with it. */
const LAYER_DIR = ".trine";
const LAYER = "root.ext4";
// linux/fs/ext4/ext4.h, struct ext4_super_block.
const STATE_AT = 1024 + 0x3a;
const MAGIC_AT = 1024 + 0x38;
const MAGIC = 0xef53;
const UNMOUNTED = 1;

/**
 * A file with an empty ext4 file system in the upper directory of a container's snapshot, for user `uid` alone.
 * The file an earlier run of the container has left is used again when it was unmounted in good order. Undefined
 * when the directory holds anything else: the container has written there by another way, and must go on seeing it.
 */
export async function placeLayer(
  upperDir: string,
  uid: number,
  prototype: () => Promise<LayerPrototype>,
): Promise<string | undefined> {
  if ((await readdir(upperDir)).some((name) => name !== LAYER_DIR)) return undefined;
  const dir = join(upperDir, LAYER_DIR);
  await mkdir(dir, { mode: 0o700 }).catch((cause: unknown) => {
    if (errnoOf(cause) !== "EEXIST") throw cause;
  });
  if (!(await lstat(dir)).isDirectory()) return undefined;
  const path = join(dir, LAYER);
  if (await isUsable(path, uid)) return path;
  const fresh = `${path}.new`;
  await rm(fresh, { recursive: true, force: true });
  try {
    await using file = await open(fresh, "wx", 0o600);
    await (await prototype()).write(file);
    await file.chown(uid, uid);
    await rm(path, { recursive: true, force: true });
    await rename(fresh, path);
  } catch (cause) {
    await rm(fresh, { force: true });
    throw TrineError.during(`make the writable layer ${path}`, cause);
  }
  return path;
}

/** Of an earlier run, and whole. Its owner becomes `uid`: the machine is another one each time. */
async function isUsable(path: string, uid: number): Promise<boolean> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const opened = await open(path, flags).catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT" || errnoOf(cause) === "ELOOP") return undefined;
    throw cause;
  });
  if (opened === undefined) return false;
  await using file = opened;
  const stats = await file.stat();
  if (!stats.isFile() || stats.nlink !== 1) return false;
  if (!(await wasUnmounted(file))) return false;
  await file.chown(uid, uid);
  return true;
}

async function wasUnmounted(file: Awaited<ReturnType<typeof open>>): Promise<boolean> {
  const bytes = Buffer.alloc(4);
  const { bytesRead } = await file.read(bytes, 0, bytes.length, MAGIC_AT);
  const state = STATE_AT - MAGIC_AT;
  return (
    bytesRead === 4 && bytes.readUInt16LE(0) === MAGIC && bytes.readUInt16LE(state) === UNMOUNTED
  );
}
