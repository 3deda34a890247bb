import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createOverlay } from "@trine/disk-images";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fileDisk } from "./disk-file.ts";

const MIB = 1024 * 1024;
const limits = { maxVirtualBytes: 8 * MIB };

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-disk-file-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

const at = (...parts: string[]) => ({ dir, parts });
const writable = { path: "/vol", readOnly: false, limits };
const inodeOf = async (path: string): Promise<string> => {
  const { dev, ino } = await stat(path, { bigint: true });
  return `${dev}:${ino}`;
};

test("a disk that is not there is made, a smaller one enlarged, and a larger one stays", async () => {
  const made = await fileDisk(at(), { ...writable, sizeBytes: MIB });
  const inode = await inodeOf(join(dir, "disk.img"));
  expect(made).toEqual({ format: "raw", path: join(dir, "disk.img"), bytes: MIB, inode });
  const larger = await fileDisk(at(), { ...writable, sizeBytes: 2 * MIB });
  expect(larger.bytes).toBe(2 * MIB);
  expect(await fileDisk(at(), { ...writable, sizeBytes: MIB })).toEqual(larger);
});

test("more than the node's limit is refused before anything is made or enlarged", async () => {
  const wanted = { ...writable, sizeBytes: 8 * MIB + 512 };
  const says = /size: 8389120 bytes for \/vol; the limit is 8388608/;
  await expect(fileDisk(at(), wanted)).rejects.toThrow(says);
  expect(await readdir(dir)).toEqual([]);
  await writeFile(join(dir, "empty.img"), "");
  await expect(fileDisk(at("empty.img"), wanted)).rejects.toThrow(says);
  expect((await stat(join(dir, "empty.img"))).size).toBe(0);
});

test("what a guest writes is raw, whatever the guest has written into its first sector", async () => {
  const path = join(dir, "disk.img");
  await createOverlay(path, { virtualSizeBytes: 4 * MIB });
  const { size } = await stat(path);
  const inode = await inodeOf(path);
  expect(await fileDisk(at(), writable)).toEqual({ format: "raw", path, bytes: size, inode });
  const larger = await fileDisk(at(), { ...writable, sizeBytes: MIB });
  expect(larger).toMatchObject({ format: "raw", bytes: MIB });
  // Not written, or said to be one: the header counts.
  const qcow2 = { format: "qcow2", path, bytes: 4 * MIB, inode };
  expect(await fileDisk(at(), { ...writable, readOnly: true })).toEqual(qcow2);
  expect(await fileDisk(at(), { ...writable, format: "qcow2" })).toEqual(qcow2);
  expect(await fileDisk(at(), { ...writable, readOnly: true, format: "raw" })).toMatchObject({
    format: "raw",
  });
});

test("a qcow2 that is none is refused, and none is made or enlarged", async () => {
  const wanted = { ...writable, format: "qcow2" } as const;
  await writeFile(join(dir, "disk.img"), Buffer.alloc(MIB));
  await expect(fileDisk(at(), wanted)).rejects.toThrow("format: /vol is raw, not qcow2");
  await expect(fileDisk(at("new"), { ...wanted, sizeBytes: MIB })).rejects.toMatchObject({
    kind: "notFound",
  });
  await createOverlay(join(dir, "q"), { virtualSizeBytes: MIB });
  await expect(fileDisk(at("q"), { ...wanted, sizeBytes: 2 * MIB })).rejects.toThrow(
    "size: /vol is a qcow2: only a raw disk is enlarged",
  );
});

test("a raw disk has a sector at least, and no more than the limit", async () => {
  await writeFile(join(dir, "small"), "x");
  await expect(fileDisk(at("small"), writable)).rejects.toThrow(/has 1 bytes, less than one sec/);
  await writeFile(join(dir, "odd"), Buffer.alloc(513));
  expect((await fileDisk(at("odd"), writable)).bytes).toBe(1024);
  const most = { maxVirtualBytes: 512 };
  await expect(fileDisk(at("odd"), { ...writable, limits: most })).rejects.toThrow(
    "/vol has 1024 bytes; the limit is 512",
  );
});
