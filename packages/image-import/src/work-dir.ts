import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, errnoOf, isFileAt, lockFile } from "@trine/base";
import type { Version } from "./fetch/download.ts";

const KEY_PREFIX = "trine-import-";
const LOCK = "lock";
const DOWNLOAD = "download";
const VERSION = "version.json";
const MAX_VERSION_BYTES = 16_384;
/** A begun download that nobody went on with for so long is nobody's. */
const KEEP_MS = 7 * 24 * 3_600_000;

/**
 * The directory of one import, locked until this process ends, however it ends. Named after its parent and the
 * source, so that the same import finds what an earlier one of it has left.
 */
export class WorkDir {
  readonly path: string;
  /** Names the import, in containerd too. */
  readonly key: string;
  readonly #lock: FileHandle;

  private constructor(path: string, key: string, lock: FileHandle) {
    this.path = path;
    this.key = key;
    this.#lock = lock;
  }

  /** Kind `conflict` while another import of the same source is at work. */
  static async open(parent: string, source: string): Promise<WorkDir> {
    await mkdir(parent, { recursive: true, mode: 0o700 });
    // An import below another directory holds another lock: it is not to share a lease or snapshot with this one.
    const hash = createHash("sha256").update(`${parent}\0${source}`).digest("hex");
    const found = await WorkDir.#take(parent, `${KEY_PREFIX}${hash.slice(0, 24)}`);
    if (found !== undefined) return found;
    throw new TrineError("conflict", "another import of the same source is at work: wait for it");
  }

  /** Takes over the directories that dead imports left. */
  static async abandoned(parent: string): Promise<WorkDir[]> {
    const names = await readdir(parent).catch((cause: unknown) => {
      if (errnoOf(cause) === "ENOENT") return [];
      throw cause;
    });
    const taken: WorkDir[] = [];
    for (const name of names.filter((each) => each.startsWith(KEY_PREFIX))) {
      const dir = await WorkDir.#take(parent, name);
      if (dir !== undefined) taken.push(dir);
    }
    return taken;
  }

  static async #take(parent: string, key: string): Promise<WorkDir | undefined> {
    const path = join(parent, key);
    for (;;) {
      await mkdir(path, { recursive: true, mode: 0o700 });
      const lock = await open(join(path, LOCK), "a", 0o600).catch((cause: unknown) => {
        if (errnoOf(cause) === "ENOENT") return undefined; // its last owner removed it
        throw cause;
      });
      if (lock === undefined) continue;
      if (!(await lockFile(lock))) {
        await lock.close();
        return undefined;
      }
      // The owner before us may have removed the file that we have locked.
      if (await isFileAt(lock, join(path, LOCK))) return new WorkDir(path, key, lock);
      await lock.close();
    }
  }

  /** The download, with what an earlier run knew of it; only for the bytes that are there. */
  async download(): Promise<{ path: string; handle: FileHandle; begun?: Version }> {
    const path = join(this.path, DOWNLOAD);
    const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
    const handle = await open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    const begun = await this.#version();
    return { path, handle, ...(begun && { begun }) };
  }

  /** Written whole or not at all. */
  async keepVersion(version: Version): Promise<void> {
    const path = join(this.path, VERSION);
    await writeFile(`${path}.new`, JSON.stringify(version), { mode: 0o600 });
    await rename(`${path}.new`, path);
  }

  /** Whatever the download's file holds from now on, no run takes it for a version's. */
  async forgetVersion(): Promise<void> {
    await rm(join(this.path, VERSION), { force: true });
  }

  /** A new, empty file. */
  async create(name: string): Promise<{ path: string; handle: FileHandle }> {
    const path = join(this.path, name);
    await rm(path, { force: true });
    return { path, handle: await open(path, "wx+", 0o600) };
  }

  /** Whether there is a download that could be gone on with. */
  async isResumable(): Promise<boolean> {
    const found = await stat(join(this.path, DOWNLOAD)).catch(() => undefined);
    const version = await this.#version();
    if (found === undefined || found.size === 0 || version?.validator === undefined) return false;
    // A layer's files have a time of their own.
    return Date.now() - found.ctimeMs < KEEP_MS;
  }

  /** Lets go of it as it is; once more is nothing. */
  async leave(): Promise<void> {
    await this.#lock.close();
  }

  /** Removes all but the begun download, and lets go of it. */
  async keepDownload(): Promise<void> {
    for (const name of await readdir(this.path)) {
      if ([DOWNLOAD, VERSION, LOCK].includes(name)) continue;
      await rm(join(this.path, name), { recursive: true, force: true });
    }
    await this.#lock.close();
  }

  /** Removes it; the lock goes last. */
  async remove(): Promise<void> {
    for (const name of await readdir(this.path)) {
      if (name !== LOCK) await rm(join(this.path, name), { recursive: true, force: true });
    }
    await rm(this.path, { recursive: true, force: true });
    await this.#lock.close();
  }

  async #version(): Promise<Version | undefined> {
    const text = await readFile(join(this.path, VERSION), "utf8").catch(() => "");
    if (text.length > MAX_VERSION_BYTES) return undefined;
    try {
      const { validator, totalBytes } = JSON.parse(text) as Version;
      const isKnown = typeof validator === "string" && Number.isSafeInteger(totalBytes ?? 0);
      return isKnown
        ? { validator, ...(totalBytes === undefined ? {} : { totalBytes }) }
        : undefined;
    } catch {
      return undefined; // a file cut off by a loss of power: the download begins anew
    }
  }
}
