import {
  chmod,
  chown,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
} from "node:fs/promises";
import type { Stats } from "node:fs";
import { dirname, join } from "node:path";
import { TrineError, errnoOf } from "@trine/base";

const MAX_TEXT = 4 * 1024 * 1024;
const MAX_LINKS = 40;

/**
 * Files of a node whose root directory is `root`. Paths are the node's: a symbolic link on the way leads where it does
 * for the node, never out of its root. Every change is one rename, so it has happened or has not.
 */
export class NodeFiles {
  readonly root: string;
  readonly #before: (change: string) => void;

  /** `before` is told of each change; what it throws keeps the change from happening. */
  constructor(root: string, before: (change: string) => void = () => undefined) {
    this.root = root;
    this.#before = before;
  }

  /** Where a file of the node's lies here; its last part may be absent. */
  async place(path: string): Promise<string> {
    const waiting = path.split("/");
    const done: string[] = [];
    for (let links = 0; waiting.length > 0;) {
      const part = waiting.shift();
      if (part === undefined || part === "" || part === ".") continue;
      if (part === "..") {
        done.pop();
        continue;
      }
      const target = await readlink(join(this.root, ...done, part)).catch(ignored("EINVAL"));
      if (target === undefined) {
        done.push(part);
        continue;
      }
      if (++links > MAX_LINKS) throw new TrineError("invalid", `${path}: too many symbolic links`);
      if (target.startsWith("/")) done.length = 0;
      waiting.unshift(...target.split("/"));
    }
    return join(this.root, ...done);
  }

  /** undefined where there is none. */
  async read(path: string): Promise<string | undefined> {
    const place = await this.place(path);
    const size = (await stat(place).catch(ignored()))?.size;
    if (size === undefined) return undefined;
    if (size > MAX_TEXT) throw new TrineError("invalid", `${path}: larger than 4 MiB`);
    return readFile(place, "utf8");
  }

  /** Names in a directory; none where there is no directory. */
  async list(path: string): Promise<string[]> {
    return (await readdir(await this.place(path)).catch(ignored())) ?? [];
  }

  async exists(path: string): Promise<boolean> {
    return (await stat(await this.place(path)).catch(ignored())) !== undefined;
  }

  /** Target of the link `path` itself is. */
  async link(path: string): Promise<string | undefined> {
    return readlink(await this.#ownPlace(path)).catch(ignored("EINVAL"));
  }

  /** Replaces the file at once; one that was there keeps its owner and mode, a new one has those of `like`. */
  async write(
    path: string,
    text: string | Buffer,
    { mode = 0o644, like = path }: { readonly mode?: number; readonly like?: string } = {},
  ): Promise<void> {
    const place = await this.place(path);
    const old = await stat(await this.place(like)).catch(ignored());
    await this.#replace(path, place, async (fresh) => {
      await using file = await open(fresh, "w", 0o600);
      await file.writeFile(text);
      await setOwner(fresh, old, mode);
      await file.sync();
    });
  }

  async writeLink(path: string, target: string): Promise<void> {
    await this.#replace(path, await this.#ownPlace(path), async (fresh) => {
      await rm(fresh, { force: true });
      await symlink(target, fresh);
    });
  }

  /** Puts `from` in the place of `to`; both are in one directory. */
  async rename(from: string, to: string): Promise<void> {
    this.#before(`rename ${from}`);
    await rename(await this.place(from), await this.place(to));
  }

  /** The file or link itself; one that is gone is no matter. */
  async remove(path: string): Promise<void> {
    const place = await this.#ownPlace(path);
    if ((await lstat(place).catch(ignored())) === undefined) return;
    this.#before(`remove ${path}`);
    await rm(place);
  }

  /** What an interrupted change may have left beside `path`. */
  async removeRests(path: string): Promise<void> {
    await rm(freshOf(await this.place(path)), { force: true });
    await rm(freshOf(await this.#ownPlace(path)), { force: true });
  }

  /** Answers false where something is in it. */
  async removeDirectory(path: string): Promise<boolean> {
    const place = await this.place(path);
    if ((await stat(place).catch(ignored())) === undefined) return true;
    this.#before(`remove ${path}`);
    return rmdir(place).then(
      () => true,
      (cause: unknown) => {
        if (errnoOf(cause) === "ENOTEMPTY" || errnoOf(cause) === "ENOTDIR") return false;
        throw cause;
      },
    );
  }

  /** Directories above these files that are not there, the highest first. */
  async missingAbove(paths: readonly string[]): Promise<string[]> {
    const missing = new Set<string>();
    for (const path of paths) {
      for (let dir = dirname(path); dir !== "/" && !(await this.exists(dir)); dir = dirname(dir)) {
        missing.add(dir);
      }
    }
    return [...missing].sort();
  }

  async #ownPlace(path: string): Promise<string> {
    return join(await this.place(dirname(path)), path.slice(dirname(path).length));
  }

  async #replace(
    path: string,
    place: string,
    make: (fresh: string) => Promise<void>,
  ): Promise<void> {
    this.#before(`write ${path}`);
    await mkdir(dirname(place), { recursive: true });
    await make(freshOf(place));
    this.#before(`put ${path}`);
    await rename(freshOf(place), place);
    await using dir = await open(dirname(place));
    await dir.sync();
  }
}

function freshOf(place: string): string {
  return `${place}.trine-new`;
}

async function setOwner(file: string, old: Stats | undefined, mode: number): Promise<void> {
  if (old === undefined) return chmod(file, mode);
  await chown(file, old.uid, old.gid);
  await chmod(file, old.mode & 0o7777);
}

/** For catch: what is not there is undefined. */
function ignored(...more: readonly string[]): (cause: unknown) => undefined {
  return (cause) => {
    const code = errnoOf(cause) ?? "";
    if (["ENOENT", "ENOTDIR", ...more].includes(code)) return undefined;
    throw cause;
  };
}
