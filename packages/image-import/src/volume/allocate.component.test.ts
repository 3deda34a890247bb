// Disks that are to have all of their space, on a real file system that is small.
import { mkdir, mkdtemp, readFile, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "@trine/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { VolumeTarget } from "./volume-target.ts";

const MIB = 1024 * 1024;
let dir: string;
let volume: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-allocate-"));
  volume = join(dir, "volume");
  await mkdir(volume);
  await runCommand("mount", ["-t", "tmpfs", "-o", "size=8m", "trine-allocate", volume]);
});

afterEach(async () => {
  await runCommand("umount", [volume]);
  await rm(dir, { recursive: true });
});

test("a disk has its space, and what it held, where it is asked for", async () => {
  for (const preallocate of [false, true]) {
    const target = await VolumeTarget.open({ path: volume, sizeBytes: 4 * MIB, preallocate });
    await target.begin(2 * MIB);
    await target.handle.write("the disk", MIB);
    await target.finish();
    await target.close();
    const path = join(volume, "disk.img");
    const { size, blocks } = await stat(path);
    expect(size).toBe(4 * MIB);
    expect(blocks * 512 >= size).toBe(preallocate);
    expect((await readFile(path)).subarray(MIB, MIB + 8).toString()).toBe("the disk");
  }
});

test("a disk for which there is no space is no disk, and leaves none", async () => {
  const target = await VolumeTarget.open({ path: volume, sizeBytes: 16 * MIB, preallocate: true });
  await expect(target.finish()).rejects.toMatchObject({
    kind: "exhausted",
    message: `cannot allocate ${16 * MIB} bytes: no space is left on the disk`,
  });
  await target.discard();
  expect(await readdir(volume)).toEqual([]);
});
