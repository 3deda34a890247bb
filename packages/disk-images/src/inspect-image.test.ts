import { mkdir, mkdtemp, open, rm, symlink, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createOverlay, inspectImage } from "./index.ts";
import { HOSTILE_IMAGES, qcow2Bytes, rawDiskBytes, writeImageFile } from "./testing.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-inspect-"));
});
afterAll(async () => {
  await rm(dir, { recursive: true });
});
const file = (name: string, bytes: Buffer) => writeImageFile(join(dir, name), bytes);

test.each([2, 3])("reads a QCOW2 of version %i", async (version) => {
  const path = file("good", qcow2Bytes({ version, extensions: [{ type: 0x6803f857, data: "x" }] }));
  expect(await inspectImage(path)).toEqual({
    format: "qcow2",
    virtualSizeBytes: 1024 ** 3,
    fileSizeBytes: 262_144,
    bootable: "unknown",
  });
});

test.each(["mbr", "gpt", "iso9660"] as const)("reads a raw disk with %s", async (kind) => {
  const path = file("raw", rawDiskBytes(kind));
  expect(await inspectImage(path)).toMatchObject({ format: "raw", bootable: kind });
});

test("a raw disk without any signature may still be one; its size is whole sectors", async () => {
  const path = file("odd", Buffer.concat([Buffer.alloc(2000), Buffer.from([1])]));
  expect(await inspectImage(path)).toEqual({
    format: "raw",
    virtualSizeBytes: 2048,
    fileSizeBytes: 2001,
    bootable: "unknown",
  });
});

test("takes an open file, and leaves it open", async () => {
  const handle = await open(file("handle", qcow2Bytes()));
  expect(await inspectImage(handle)).toMatchObject({ format: "qcow2" });
  expect((await handle.stat()).size).toBe(262_144);
  await handle.close();
});

describe("refuses, with a reason of its own,", () => {
  test.each(HOSTILE_IMAGES)("$name", async ({ bytes, says }) => {
    const error = await inspectImage(file("hostile", bytes())).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ kind: "invalid" });
    expect((error as Error).message).toMatch(says);
    expect((error as Error).message).toMatch(/^disk image "[^"]+hostile" [\x20-\x7e…]+$/);
  });

  test("more than the configured size, and a giant in a tiny file", async () => {
    const path = file("large", qcow2Bytes({ virtualSizeBytes: 1n << 30n }));
    await expect(inspectImage(path, { maxVirtualBytes: 1024 })).rejects.toThrow(
      /the limit is 1024/,
    );
    const giant = join(dir, "giant");
    await createOverlay(giant, { virtualSizeBytes: 8 * 1024 ** 4 });
    await expect(inspectImage(giant)).rejects.toThrow(/claims a virtual size of 8796093022208/);
    expect(await inspectImage(giant, { maxRatio: 2 ** 32 })).toMatchObject({ format: "qcow2" });
    await truncate(join(dir, "giant"), 64 * 1024 * 1024);
    expect(await inspectImage(giant)).toMatchObject({ format: "qcow2" });
  });

  test("tables that overlap, and data behind the end when asked to look", async () => {
    const l2 = 3n * 65_536n;
    const overlapping = file(
      "overlap",
      qcow2Bytes({ l1Entries: 6, l1: Array<bigint>(6).fill(l2) }),
    );
    await expect(inspectImage(overlapping)).rejects.toThrow(/more L2 tables than fit/);
    const bytes = qcow2Bytes({ l1: [2n * 65_536n] });
    bytes.writeBigUInt64BE(1n << 33n, 2 * 65_536 + 8);
    const cut = file("cut", bytes);
    expect(await inspectImage(cut)).toMatchObject({ format: "qcow2" });
    await expect(inspectImage(cut, { checkTables: true })).rejects.toThrow(/data lies behind/);
  });

  test("whatever is not a regular file, without waiting for it", async () => {
    const fifo = join(dir, "fifo");
    execFileSync("mkfifo", [fifo]);
    await expect(inspectImage(fifo)).rejects.toMatchObject({ kind: "invalid" });
    const link = join(dir, "link");
    await symlink(file("target", qcow2Bytes()), link);
    await expect(inspectImage(link)).rejects.toThrow(/is a symbolic link/);
    await mkdir(join(dir, "directory"));
    await expect(inspectImage(join(dir, "directory"))).rejects.toThrow(/not a regular file/);
    await expect(inspectImage("/dev/null")).rejects.toThrow(/not a regular file/);
    await expect(inspectImage(join(dir, "none"))).rejects.toMatchObject({ kind: "notFound" });
  });

  test("to go on once the signal is aborted", async () => {
    const path = file("aborted", qcow2Bytes());
    await expect(inspectImage(path, {}, AbortSignal.abort())).rejects.toThrow(/abort/i);
  });
});
