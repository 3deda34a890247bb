import { open, truncate } from "node:fs/promises";
import { runCommand } from "@trine/testkit";

/** A block device of the node that a test may lose: a loop device over a sparse file. */
export class LoopDevice implements AsyncDisposable {
  readonly path: string;
  readonly file: string;

  private constructor(path: string, file: string) {
    this.path = path;
    this.file = file;
  }

  /** `text`: its first bytes. */
  static async make(file: string, bytes: number, text = ""): Promise<LoopDevice> {
    {
      await using handle = await open(file, "wx");
      await handle.truncate(bytes);
      await handle.write(text, 0);
    }
    return LoopDevice.over(file);
  }

  static async over(file: string): Promise<LoopDevice> {
    const path = await runCommand("losetup", ["--find", "--show", file]);
    return new LoopDevice(path.trim(), file);
  }

  /** As a volume is grown under its user. */
  async grow(bytes: number): Promise<void> {
    await truncate(this.file, bytes);
    await runCommand("losetup", ["--set-capacity", this.path]);
  }

  /** `count` bytes from `skip` on, as the node reads the device. */
  async read(skip: number, count: number): Promise<string> {
    const range = [`skip=${skip}`, `count=${count}`, "iflag=skip_bytes,count_bytes"];
    return runCommand("dd", [`if=${this.path}`, "status=none", ...range]);
  }

  /** As a program of the node writes it. */
  async write(text: string, at = 0): Promise<void> {
    await using handle = await open(this.path, "r+");
    await handle.write(text, at);
    await handle.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await runCommand("losetup", ["--detach", this.path]);
  }
}
