import { constants } from "node:fs";
import { lstat, open, opendir } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, errnoOf, quote } from "@trine/base";
import { HEAD_BYTES, rawSignature } from "./foreign-format.ts";
import { isQcow2 } from "./inspect-image.ts";
import { openRegularFile, readAt } from "./open-image.ts";

const MAX_ENTRIES = 64;
const MAX_NAMED = 8;

/**
 * The one file in `disk/` of a mounted image that starts like a QCOW2 or a partitioned raw disk; answers
 * its path. Symlinks are never followed. Kind `invalid` when there is none, or several: names them.
 */
export async function findMachineDisk(rootfsDir: string): Promise<string> {
  const dir = join(rootfsDir, "disk");
  await requireDirectory(dir);
  const disks: string[] = [];
  const others: string[] = [];
  for (const name of await entryNames(dir)) {
    ((await startsLikeDisk(join(dir, name))) ? disks : others).push(name);
  }
  const [disk, ...more] = disks;
  if (disk === undefined) throw noDisk(others);
  if (more.length > 0) {
    throw new TrineError(
      "invalid",
      `the image's /disk holds ${disks.length} disks (${nameSome(disks)}): a machine image has exactly one`,
    );
  }
  return join(dir, disk);
}

/**
 * Whether a mounted image holds a disk where a machine image does, one or more. What a machine image may not be
 * (an odd /disk, too much in it) is for `findMachineDisk` to say.
 */
export async function hasMachineDisk(rootfsDir: string): Promise<boolean> {
  const dir = join(rootfsDir, "disk");
  if ((await noDirectory(dir)) !== undefined) return false;
  let looked = 0;
  for await (const { name } of await opendir(dir)) {
    if (await startsLikeDisk(join(dir, name))) return true;
    if (++looked === MAX_ENTRIES) return false;
  }
  return false;
}

/** Whether a mounted image has something at the place of a machine image's disk, whatever it is. */
export async function hasDiskPlace(rootfsDir: string): Promise<boolean> {
  try {
    await lstat(join(rootfsDir, "disk"));
    return true;
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return false;
    throw TrineError.during("look for the image's /disk", cause);
  }
}

async function requireDirectory(dir: string): Promise<void> {
  const cause = await noDirectory(dir);
  if (cause === undefined) return;
  const why =
    errnoOf(cause) === "ENOENT"
      ? "the image has no /disk: a machine image holds one QCOW2 or raw disk there"
      : "the image's /disk is not a directory";
  throw new TrineError("invalid", why, { cause });
}

/** What the system says when there is none, or something else (a link, too); undefined for a directory. */
async function noDirectory(dir: string): Promise<unknown> {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  try {
    await (await open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)).close();
    return undefined;
  } catch (cause) {
    if (["ENOENT", "ENOTDIR", "ELOOP"].includes(errnoOf(cause) ?? "")) return cause;
    throw TrineError.during("look into the image's /disk", cause);
  }
}

async function entryNames(dir: string): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of await opendir(dir)) {
    if (names.length === MAX_ENTRIES) {
      throw new TrineError("invalid", `the image's /disk holds more than ${MAX_ENTRIES} entries`);
    }
    names.push(entry.name);
  }
  return names.sort();
}

async function startsLikeDisk(path: string): Promise<boolean> {
  if (!(await lstat(path)).isFile()) return false;
  const handle = await openRegularFile(path);
  try {
    const head = await readAt(handle, 0, HEAD_BYTES);
    return isQcow2(head) || rawSignature(head) !== "unknown";
  } finally {
    await handle.close();
  }
}

function noDisk(others: readonly string[]): TrineError {
  const found = others.length === 0 ? "it is empty" : `it holds ${nameSome(others)}`;
  return new TrineError(
    "invalid",
    `the image's /disk holds no QCOW2 and no raw disk with a partition table: ${found}`,
  );
}

function nameSome(names: readonly string[]): string {
  const shown = names.slice(0, MAX_NAMED).map(quote).join(", ");
  return names.length > MAX_NAMED ? `${shown}, …` : shown;
}
