import { execFile } from "node:child_process";
import { lstat } from "node:fs/promises";
import { promisify } from "node:util";
import { SerialQueue, abortable } from "@trine/base";
import type { DiskSpec } from "@trine/vmm";
import { deviceBytes, deviceNumber } from "../device-bytes.ts";

const SECTOR_BYTES = 512;
const LOOK_MS = 2_000;
/** In hexadecimal type and rights; then bytes, device and inode. It opens nothing, and follows no link at the end. */
const STAT = ["-c", "%f %s %d:%i", "--"];
const TYPE = 0o170000;
const REGULAR = 0o100000;
/** One program at a time on the whole node. */
const turns = new SerialQueue();
const run = promisify(execFile);

/** What is looked at. */
export type Looked = Pick<DiskSpec, "name" | "path" | "source" | "inode">;

/**
 * Sizes of a pod's disks in volumes, which others have too, and which may lie on a server that is dead: what waits for
 * one waits in a program of its own. While that has not come back, no further one is started.
 */
export class DiskLooks {
  readonly #limit: () => AbortSignal;
  readonly #program: string;
  #isAway = false;
  /** Of files, by the disk's name. */
  readonly #last = new Map<string, number>();

  /** `limit`: aborts when a look, from now on, has taken too long. */
  constructor({ limit = () => AbortSignal.timeout(LOOK_MS), program = "stat" } = {}) {
    this.#limit = limit;
    this.#program = program;
  }

  /**
   * As QEMU shows it; undefined for what has no size yet that counts: a file whose last look saw another, that is another
   * file than the machine's, or that cannot be looked at now. Kind `timeout` when it does not answer.
   */
  async bytesOf({ name, path, source, inode }: Looked): Promise<number | undefined> {
    // The node of a device is the pod's own, as its directory is.
    if (source === "block-device") return deviceBytes(deviceNumber(await lstat(path)));
    const seen = await this.#look(path);
    if (seen === undefined) return undefined;
    const isOurs = seen.isFile && (inode === undefined || seen.inode === inode);
    const before = this.#last.get(name);
    this.#last.set(name, isOurs ? seen.bytes : 0);
    if (!isOurs || before !== seen.bytes) return undefined;
    return Math.ceil(seen.bytes / SECTOR_BYTES) * SECTOR_BYTES;
  }

  async #look(path: string): Promise<ReturnType<typeof parse> | undefined> {
    return turns.run(async () => {
      if (this.#isAway) return undefined;
      this.#isAway = true;
      const looking = run(this.#program, [...STAT, path]);
      const back = looking.finally(() => {
        this.#isAway = false;
      });
      try {
        const { stdout } = await abortable(`look at ${path}`, this.#limit(), back);
        return parse(stdout);
      } catch (cause) {
        looking.child.kill("SIGKILL"); // of no use to one that waits for a disk: it stays away until then
        throw cause;
      }
    });
  }
}

function parse(said: string): { isFile: boolean; bytes: number; inode: string } {
  const [mode = "", bytes = "", inode = ""] = said.trim().split(" ");
  return {
    isFile: (Number.parseInt(mode, 16) & TYPE) === REGULAR,
    bytes: Number.parseInt(bytes, 10),
    inode,
  };
}
