import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createOverlay, inspectImage } from "./index.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-overlay-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

test("is a QCOW2 that names no other file, sparse and private", async () => {
  const path = join(dir, "root.qcow2");
  await createOverlay(path, { virtualSizeBytes: 20 * 1024 ** 3 });
  expect(await inspectImage(path)).toMatchObject({
    format: "qcow2",
    virtualSizeBytes: 20 * 1024 ** 3,
  });
  const { mode, blocks, size } = await stat(path);
  expect(mode & 0o777).toBe(0o600);
  expect(blocks * 512).toBeLessThan(size);
  expect((await readFile(path)).readBigUInt64BE(8)).toBe(0n);
});

test.each([9, 16, 21])(
  "works with cluster bits %i up to the largest size they allow",
  async (clusterBits) => {
    const path = join(dir, "large");
    const largest = Math.min(64 * 1024 ** 4, 2 ** (2 * clusterBits - 3 + 22));
    await createOverlay(path, { virtualSizeBytes: largest, clusterBits });
    const limits = { maxVirtualBytes: largest, maxRatio: Infinity };
    expect(await inspectImage(path, limits)).toMatchObject({ virtualSizeBytes: largest });
  },
);

test("rounds up to whole sectors", async () => {
  const path = join(dir, "odd");
  await createOverlay(path, { virtualSizeBytes: 1_000_001, sync: false });
  expect(await inspectImage(path)).toMatchObject({ virtualSizeBytes: 1_000_448 });
});

test("replaces what has its name, links not followed, and what a crash left", async () => {
  const victim = join(dir, "victim");
  await writeFile(victim, "precious");
  const path = join(dir, "root.qcow2");
  await symlink(victim, path);
  await symlink(victim, join(dir, ".root.qcow2.new"));
  await createOverlay(path, { virtualSizeBytes: 1024 ** 3 });
  expect(await readFile(victim, "utf8")).toBe("precious");
  expect(await inspectImage(path)).toMatchObject({ format: "qcow2" });
  expect((await readdir(dir)).sort()).toEqual(["root.qcow2", "victim"]);
});

test.each([
  [{ virtualSizeBytes: 0 }, /virtual size 0/],
  [{ virtualSizeBytes: Number.NaN }, /virtual size NaN/],
  [{ virtualSizeBytes: 65 * 1024 ** 4 }, /not 1 to 64 TiB/],
  [{ virtualSizeBytes: 1024, clusterBits: 8 }, /cluster bits 8/],
  [{ virtualSizeBytes: 1024 ** 4, clusterBits: 9 }, /need larger clusters/],
])("refuses %o and leaves nothing", async (options, says) => {
  await expect(createOverlay(join(dir, "x"), options)).rejects.toThrow(says);
  expect(await readdir(dir)).toEqual([]);
});

test("a rename that fails leaves no temporary file", async () => {
  const path = join(dir, "taken");
  await mkdir(path);
  await expect(createOverlay(path, { virtualSizeBytes: 1024 })).rejects.toThrow(/create overlay/);
  expect(await readdir(dir)).toEqual(["taken"]);
});
