import { constants } from "node:fs";
import { lstat, open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "@trine/base";
import type { VolumeOrder } from "@trine/node-door";

const MARK = ".trine-import";
const DISK = "disk.img";
const MAX_BYTES = 1_024;

/**
 * That an import is done, and its volume not to be written again: kubelet may run the container once more, also when a
 * machine has the disk already. Noted in the pod's own directory, and beside the disk where the volume has a file system.
 */
export class DoneMarks {
  readonly #order: VolumeOrder;
  readonly #workDir: string;

  constructor(order: VolumeOrder, workDir: string) {
    this.#order = order;
    this.#workDir = workDir;
  }

  async isDone(): Promise<boolean> {
    const { id, target } = this.#order;
    if ((await readMark(join(this.#workDir, MARK))) === id) return true;
    if (!(await this.#hasFiles())) return false;
    if ((await readMark(join(target, MARK))) !== id) return false;
    return (await lstat(join(target, DISK)).catch(absent))?.isFile() === true;
  }

  async done(): Promise<void> {
    const { id, target } = this.#order;
    if (await this.#hasFiles()) await writeMark(target, id);
    await writeMark(this.#workDir, id);
  }

  async #hasFiles(): Promise<boolean> {
    return (await stat(this.#order.target)).isDirectory();
  }
}

async function readMark(path: string): Promise<string | undefined> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch(absent);
  if (handle === undefined) return undefined;
  try {
    const stats = await handle.stat();
    if (!stats.isFile() || stats.size > MAX_BYTES) return undefined;
    return await handle.readFile("utf8");
  } finally {
    await handle.close();
  }
}

/** Whole or not at all, and lasting. */
async function writeMark(dir: string, id: string): Promise<void> {
  const path = join(dir, MARK);
  await rm(`${path}.new`, { force: true });
  {
    await using handle = await open(`${path}.new`, "wx", 0o644);
    await handle.writeFile(id);
    await handle.sync();
  }
  await rename(`${path}.new`, path);
  await using parent = await open(dir, "r");
  await parent.sync();
}

/** A link at the place, or nothing there, is no mark. */
function absent(cause: unknown): undefined {
  if (!["ENOENT", "ELOOP"].includes(errnoOf(cause) ?? "")) throw cause;
  return undefined;
}
