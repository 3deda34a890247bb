import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

test("a disk that is not there is made, and a smaller one enlarged", async () => {
  const made = await fileDisk(at(), { ...writable, sizeBytes: MIB });
  expect(made).toEqual({ format: "raw", path: join(dir, "disk.img"), bytes: MIB });
  const larger = await fileDisk(at(), { ...writable, sizeBytes: 2 * MIB });
  expect(larger.bytes).toBe(2 * MIB);
  await expect(fileDisk(at(), { ...writable, sizeBytes: MIB })).rejects.toThrow(/only enlarges/);
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
