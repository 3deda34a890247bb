import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findMachineDisk } from "./index.ts";
import { qcow2Bytes, rawDiskBytes } from "./testing.ts";

let rootfs: string;
beforeEach(async () => {
  rootfs = await mkdtemp(join(tmpdir(), "trine-find-"));
});
afterEach(async () => {
  await rm(rootfs, { recursive: true });
});

async function put(files: Record<string, Buffer | string>): Promise<void> {
  await mkdir(join(rootfs, "disk"), { recursive: true });
  for (const [name, bytes] of Object.entries(files))
    await writeFile(join(rootfs, "disk", name), bytes);
}

test.each([
  ["a QCOW2", qcow2Bytes()],
  ["a raw disk", rawDiskBytes("gpt")],
])("finds %s beside other files", async (_, bytes) => {
  await put({ "a-disk": bytes, README: "words", notes: Buffer.alloc(600) });
  expect(await findMachineDisk(rootfs)).toBe(join(rootfs, "disk", "a-disk"));
});

test("names the disks when there are several", async () => {
  await put({ a: qcow2Bytes(), "b\n": rawDiskBytes() });
  await expect(findMachineDisk(rootfs)).rejects.toThrow(/holds 2 disks \("a", "b\\n"\)/);
});

test("says what it saw when there is none", async () => {
  await expect(findMachineDisk(rootfs)).rejects.toThrow(/has no \/disk/);
  await put({});
  await expect(findMachineDisk(rootfs)).rejects.toThrow(/it is empty/);
  await put({ README: "words" });
  await expect(findMachineDisk(rootfs)).rejects.toThrow(/it holds "README"/);
});

test("follows no symlink, neither of a file nor of /disk itself", async () => {
  const outside = join(rootfs, "outside");
  await mkdir(outside);
  await writeFile(join(outside, "real"), qcow2Bytes());
  await put({});
  await symlink(join(outside, "real"), join(rootfs, "disk", "link"));
  await expect(findMachineDisk(rootfs)).rejects.toThrow(/it holds "link"/);
  await rm(join(rootfs, "disk"), { recursive: true });
  await symlink(outside, join(rootfs, "disk"));
  await expect(findMachineDisk(rootfs)).rejects.toThrow(/\/disk is not a directory/);
});

test("looks at 64 entries and no more", async () => {
  const names = Array.from({ length: 64 }, (_, i) => [`f${i}`, "x"]);
  await put({ ...(Object.fromEntries(names) as Record<string, string>) });
  await expect(findMachineDisk(rootfs)).rejects.toThrow(/"f0", .*…$/);
  await put({ more: "x" });
  await expect(findMachineDisk(rootfs)).rejects.toThrow(/more than 64 entries/);
});
