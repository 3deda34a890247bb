import { constants } from "node:fs";
import { open, rename } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { TrineError, errnoOf, kindOf, quote } from "@trine/base";

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK } = constants;
const { O_RDONLY, O_RDWR } = constants;
/** Of open(2): a place in the tree, at which nothing is opened. Node does not name it. */
const O_PATH = 0o10000000;

/** What to open below a directory whose contents others write. */
export interface Beneath {
  /** A directory that is trusted. */
  readonly dir: string;
  /** Names, one below the other. */
  readonly parts: readonly string[];
}

/**
 * Opens a regular file below a directory without following a link anywhere below it, also one that somebody puts there
 * meanwhile. `write`: for reading and writing; `create`: made (mode 0600) when it is not there. Anything else is not
 * opened: with a device (a watchdog, a tape) that alone may do something. Kind `notFound` or `invalid`.
 */
export async function openBeneath(
  { dir, parts }: Beneath,
  how: { readonly write?: boolean; readonly create?: boolean } = {},
): Promise<FileHandle> {
  const access = (how.write === true ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_NOCTTY;
  const last = parts.at(-1);
  if (last === undefined) throw new TrineError("internal", `nothing below ${dir} is named`);
  const parent = await openDirectory({ dir, parts: parts.slice(0, -1) });
  try {
    return await openFile(parent, last, access);
  } catch (cause) {
    if (how.create !== true || kindOf(cause) !== "notFound") throw cause;
    // Not what somebody puts there meanwhile.
    return await step(parent, last, access | O_CREAT | O_EXCL);
  } finally {
    await parent.close();
  }
}

async function openFile(at: FileHandle, name: string, access: number): Promise<FileHandle> {
  const place = await step(at, name, O_PATH);
  try {
    if (!(await place.stat()).isFile()) {
      throw new TrineError("invalid", `${quote(name)} is a link, or is not a regular file`);
    }
    return await open(`/proc/self/fd/${place.fd}`, access).catch((cause: unknown) => {
      throw TrineError.during(`open ${quote(name)}`, cause);
    });
  } finally {
    await place.close();
  }
}

/**
 * Gives a file of a directory another name in it, in place of what has that, for good. No link below `dir` is followed. Kind
 * `notFound` or `invalid`.
 */
export async function renameBeneath(
  place: Beneath,
  names: { readonly from: string; readonly to: string },
): Promise<void> {
  const at = await openDirectory(place);
  try {
    const own = `/proc/self/fd/${at.fd}`;
    await rename(`${own}/${names.from}`, `${own}/${names.to}`);
    await at.sync();
  } catch (cause) {
    throw TrineError.during(`rename ${quote(names.from)} to ${quote(names.to)}`, cause);
  } finally {
    await at.close();
  }
}

/** True: a directory; false also for what is not there. */
export async function isDirectoryBeneath(place: Beneath): Promise<boolean> {
  try {
    await (await openDirectory(place)).close();
    return true;
  } catch (cause) {
    if (cause instanceof TrineError && ["notFound", "invalid"].includes(cause.kind)) return false;
    throw cause;
  }
}

async function openDirectory({ dir, parts }: Beneath): Promise<FileHandle> {
  let at = await open(dir, O_RDONLY | O_DIRECTORY);
  for (const part of parts) {
    const before = at;
    try {
      at = await step(before, part, O_RDONLY | O_DIRECTORY);
    } finally {
      await before.close();
    }
  }
  return at;
}

/** By the directory's descriptor, so that nobody can put another in its place. */
async function step(at: FileHandle, name: string, flags: number): Promise<FileHandle> {
  try {
    return await open(`/proc/self/fd/${at.fd}/${name}`, flags | O_NOFOLLOW, 0o600);
  } catch (cause) {
    const code = errnoOf(cause);
    if (code === "ENOENT")
      throw new TrineError("notFound", `${quote(name)} does not exist`, { cause });
    if (code === "ELOOP" || code === "ENOTDIR" || code === "EISDIR") {
      const why = `${quote(name)} is a link, or not what it should be (${code})`;
      throw new TrineError("invalid", why, { cause });
    }
    throw TrineError.during(`open ${quote(name)}`, cause);
  }
}
