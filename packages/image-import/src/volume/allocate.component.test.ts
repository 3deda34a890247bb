// Disks that are to have all of their space, on a real file system that is small.
import { mkdir, mkdtemp, readFile, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { runCommand } from "@trine/testkit";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fillHoles } from "./fill-holes.ts";
import { VolumeTarget } from "./volume-target.ts";

const MIB = 1024 * 1024;
const { signal } = new AbortController();
let dir: string;
let volume: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-allocate-"));
  volume = join(dir, "volume");
  await mkdir(volume);
});

afterEach(async () => {
  await runCommand("umount", [volume]);
  await rm(dir, { recursive: true });
});

async function mount(type: "tmpfs" | "ramfs"): Promise<void> {
  const size = type === "tmpfs" ? ["-o", "size=8m"] : [];
  await runCommand("mount", ["-t", type, ...size, "trine-allocate", volume]);
}

test("a disk has its space, and what it held, where it is asked for", async () => {
  await mount("tmpfs");
  for (const preallocate of [false, true]) {
    const target = await VolumeTarget.open({ path: volume, sizeBytes: 4 * MIB, preallocate });
    await target.reserve(signal);
    await target.begin(2 * MIB);
    await target.handle.write("the disk", MIB);
    await target.finish(signal);
    await target.close();
    const path = join(volume, "disk.img");
    const { size, blocks } = await stat(path);
    expect(size).toBe(4 * MIB);
    expect(blocks * 512 >= size).toBe(preallocate);
    expect((await readFile(path)).subarray(MIB, MIB + 8).toString()).toBe("the disk");
  }
});

const FULL = {
  kind: "exhausted",
  message: expect.stringMatching(/no space is left on the disk$/) as string,
};

test("a disk for which there is no space is not begun, and leaves none", async () => {
  await mount("tmpfs");
  const target = await VolumeTarget.open({ path: volume, sizeBytes: 16 * MIB, preallocate: true });
  await expect(target.reserve(signal)).rejects.toMatchObject(FULL);
  await expect(target.finish(signal)).rejects.toMatchObject(FULL);
  await expect(fillHoles(target.handle, signal)).rejects.toMatchObject(FULL);
  await target.discard();
  expect(await readdir(volume)).toEqual([]);
});

test("a file system that has no call for it has the disk written, until the import is cut off", async () => {
  await mount("ramfs");
  const request = { path: volume, sizeBytes: 4 * MIB, preallocate: true };
  const target = await VolumeTarget.open(request);
  await target.reserve(signal);
  await target.begin(2 * MIB);
  await target.handle.write("the disk", MIB);
  await target.finish(signal);
  await target.close();
  const bytes = await readFile(join(volume, "disk.img"));
  expect(bytes.length).toBe(4 * MIB);
  expect(bytes.subarray(MIB, MIB + 8).toString()).toBe("the disk");
  const cut = await VolumeTarget.open(request);
  const why = new TrineError("canceled", "the pod is ended");
  await expect(cut.finish(AbortSignal.abort(why))).rejects.toBe(why);
  await cut.discard();
});
