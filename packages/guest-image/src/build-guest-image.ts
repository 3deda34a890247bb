import { createHash } from "node:crypto";
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  readlink,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { TrineError, errnoOf, messageOf } from "@trine/base";
import { MANIFEST, readGuestImage } from "./guest-manifest.ts";
import type { GuestImage } from "./guest-manifest.ts";
import { writeGuestImage } from "./write-guest-image.ts";
import type { GuestImageOptions } from "./write-guest-image.ts";

const MAKING = /^making-(\d+)-/;

/**
 * Builds an image and makes `out` be it. `out` is a symbolic link to a directory in `out`.d that is named after
 * its content; it changes at once, and who reads the image it led to before finds that for one build longer.
 * Kinds: `wrongState` when `out` is a directory of something else, `forbidden` when it cannot be written, and
 * what `writeGuestImage` says.
 */
export async function buildGuestImage(
  out: string,
  options: GuestImageOptions,
): Promise<GuestImage> {
  const store = `${out}.d`;
  await checkPlace(out);
  const making = await writing(out, async () => {
    await makeDirs(store);
    return mkdtemp(join(store, `making-${process.pid}-`));
  });
  try {
    await writeGuestImage(making, options);
    options.signal.throwIfAborted();
    await writing(out, () => publish(out, store, making));
  } finally {
    await rm(making, { recursive: true, force: true });
  }
  return readGuestImage(out);
}

/** Nothing of others is ever replaced. */
async function checkPlace(out: string): Promise<void> {
  const found = await lstat(out).catch((cause: unknown) => {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw cannotWrite(out, cause);
  });
  if (found === undefined) return;
  const isOurs = found.isSymbolicLink() && (await readlink(out)).startsWith(`${basename(out)}.d/`);
  const isEmpty = found.isDirectory() && (await readdir(out)).length === 0;
  if (!isOurs && !isEmpty) {
    throw new TrineError("wrongState", `${out}: holds something else; name another directory`);
  }
}

/** Not mkdir's own `recursive`: that never ends where a file system takes no directories, as in /proc. */
async function makeDirs(dir: string): Promise<void> {
  await mkdir(dir).catch(async (cause: unknown) => {
    const code = errnoOf(cause);
    if (code === "EEXIST") return;
    const parent = dirname(dir);
    const hasParent = await stat(parent).then(
      () => true,
      () => false,
    );
    if (code !== "ENOENT" || hasParent) throw cause;
    await makeDirs(parent);
    await mkdir(dir);
  });
}

async function publish(out: string, store: string, making: string): Promise<void> {
  const text = await readFile(join(making, MANIFEST));
  const id = createHash("sha256").update(text).digest("hex").slice(0, 16);
  await chmod(making, 0o755);
  const place = join(store, id);
  const same = await readGuestImage(place, { verify: true }).catch(() => undefined);
  if (same === undefined) {
    await rm(place, { recursive: true, force: true }); // damaged, if there is one
    await rename(making, place);
  }
  const before = await readlink(out).catch(() => "");
  const link = `${out}.new-${process.pid}`;
  await rm(link, { force: true });
  await symlink(join(basename(store), id), link);
  if (before === "") await rmdir(out).catch(ignoreAbsent);
  await rename(link, out);
  await removeOld(store, new Set([id, basename(before)]));
}

/** What earlier builds left, but not what another one is making. */
async function removeOld(store: string, kept: ReadonlySet<string>): Promise<void> {
  for (const name of await readdir(store)) {
    const maker = MAKING.exec(name)?.[1];
    const busy = maker !== undefined && maker !== String(process.pid) && (await isRunning(maker));
    if (!kept.has(name) && !busy) await rm(join(store, name), { recursive: true, force: true });
  }
}

function isRunning(pid: string): Promise<boolean> {
  return lstat(`/proc/${pid}`).then(
    () => true,
    () => false,
  );
}

function ignoreAbsent(cause: NodeJS.ErrnoException): void {
  if (cause.code !== "ENOENT") throw cause;
}

async function writing<T>(out: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw cannotWrite(out, cause);
  }
}

function cannotWrite(out: string, cause: unknown): TrineError {
  const code = errnoOf(cause) ?? "";
  const full = ["ENOSPC", "EDQUOT"].includes(code);
  const kind = full ? "exhausted" : code === "" ? "internal" : "forbidden";
  return new TrineError(kind, `${out}: cannot be written: ${messageOf(cause)}`, { cause });
}
