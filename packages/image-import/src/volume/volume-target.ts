import { constants } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { allocate, reserve } from "./allocate.ts";
import { bytesOfDevice } from "./bytes-of-device.ts";

/** As KubeVirt names it on a volume. */
const DISK = "disk.img";
/** What is half done, beside it. */
const PART = ".trine-import.part";
const SECTOR_BYTES = 512;

export interface TargetRequest {
  /** Directory of a volume with a file system, or a block device. */
  readonly path: string;
  /** What the disk is to have; of a device absent = all of it. */
  readonly sizeBytes?: number;
  /** All of the disk's space is its own from the beginning, in a file system. */
  readonly preallocate?: boolean;
}

/**
 * Where a disk is written: a new file beside the volume's disk, which takes its name when all of it is there; or a
 * device. Whoever was there before has no part in it: no link is followed, no old file is written.
 */
export class VolumeTarget {
  readonly handle: FileHandle;
  readonly path: string;
  readonly isDevice: boolean;
  /** Most that the disk may have. */
  readonly maxBytes: number;
  readonly #dir: string | undefined;
  readonly #wanted: number;
  readonly #isAllocated: boolean;

  private constructor(
    { handle, path }: { readonly handle: FileHandle; readonly path: string },
    size: { readonly maxBytes: number; readonly wanted: number; readonly isAllocated: boolean },
    dir: string | undefined,
  ) {
    this.handle = handle;
    this.path = path;
    this.isDevice = dir === undefined;
    this.maxBytes = size.maxBytes;
    this.#wanted = size.wanted;
    this.#isAllocated = size.isAllocated;
    this.#dir = dir;
  }

  /** Kind `invalid` for what is neither, and for a device that is smaller than what is wanted. */
  static async open(request: TargetRequest): Promise<VolumeTarget> {
    const { path, sizeBytes, preallocate: isAllocated = false } = request;
    const stats = await stat(path);
    if (stats.isBlockDevice()) return VolumeTarget.#device(path, sizeBytes);
    if (!stats.isDirectory()) {
      throw new TrineError("invalid", `${path} is neither a directory nor a block device`);
    }
    if (sizeBytes === undefined || sizeBytes < SECTOR_BYTES) {
      throw new TrineError("invalid", `the disk on ${path} needs a size`);
    }
    const part = join(path, PART);
    await rm(part, { force: true });
    const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
    const handle = await open(part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    const whole = sizeBytes - (sizeBytes % SECTOR_BYTES);
    const size = { maxBytes: whole, wanted: whole, isAllocated };
    return new VolumeTarget({ handle, path: part }, size, path);
  }

  static async #device(path: string, wanted = 0): Promise<VolumeTarget> {
    const maxBytes = await bytesOfDevice(path);
    if (maxBytes < wanted) {
      throw new TrineError("invalid", `the device has ${maxBytes} bytes, ${wanted} are wanted`);
    }
    const { O_RDWR, O_NOFOLLOW } = constants;
    return new VolumeTarget(
      { handle: await open(path, O_RDWR | O_NOFOLLOW), path },
      { maxBytes, wanted, isAllocated: false },
      undefined,
    );
  }

  /** Before anything is fetched: kind `exhausted` where a disk that is to have its space cannot. */
  async reserve(signal: AbortSignal): Promise<void> {
    if (this.#isAllocated) await reserve(this.handle, this.#wanted, signal);
  }

  /** Before the first byte. Kind `invalid` for a disk that is larger than the volume. */
  async begin(virtualBytes: number): Promise<void> {
    if (virtualBytes > this.maxBytes) {
      const what = `the disk has ${virtualBytes} bytes, the volume takes ${this.maxBytes}`;
      throw new TrineError("invalid", `${what}: ask for a larger one`);
    }
    if (!this.isDevice) await this.handle.truncate(virtualBytes);
  }

  /** All is written: it lasts, and has its size and name from now on. Repeatable until it has succeeded. */
  async finish(signal: AbortSignal): Promise<void> {
    const { handle } = this;
    if (this.#dir !== undefined) {
      if ((await handle.stat()).size < this.#wanted) await handle.truncate(this.#wanted);
      if (this.#isAllocated) await allocate(handle, signal);
      // A machine's user is given the file itself; of others those in the volume's group.
      await handle.chmod(0o660);
    }
    await handle.sync();
    if (this.#dir === undefined) return;
    await rename(this.path, join(this.#dir, DISK));
    await using dir = await open(this.#dir, "r");
    await dir.sync();
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  /** What is half done goes: its space is another attempt's. */
  async discard(): Promise<void> {
    await this.handle.close();
    if (this.#dir !== undefined) await rm(this.path, { force: true });
  }
}
