import { chmod, mkdtemp, readFile, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DiskLooks } from "./look-at-disk.ts";
import type { Looked } from "./look-at-disk.ts";

const DEADLINE = { ms: 60_000, everyMs: 10 };
const PATIENT = { limit: () => AbortSignal.timeout(60_000) };
let dir: string;
let disk: Looked;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-look-"));
  const path = join(dir, "disk.img");
  await writeFile(path, Buffer.alloc(1024));
  const { dev, ino } = await stat(path, { bigint: true });
  disk = { name: "data", path, inode: `${dev}:${ino}` };
});
afterEach(() => rm(dir, { recursive: true }));

test("a file's size counts once two looks saw the same", async () => {
  const looks = new DiskLooks(PATIENT);
  expect(await looks.bytesOf(disk)).toBeUndefined();
  expect(await looks.bytesOf(disk)).toBe(1024);
  await truncate(disk.path, 2048);
  expect(await looks.bytesOf(disk)).toBeUndefined();
  await truncate(disk.path, 4000);
  expect(await looks.bytesOf(disk)).toBeUndefined();
  expect(await looks.bytesOf(disk)).toBe(4096);
});

test("what was put in the machine's file's place is none of its", async () => {
  const looks = new DiskLooks(PATIENT);
  await writeFile(join(dir, "other"), Buffer.alloc(8192));
  await rename(join(dir, "other"), disk.path);
  expect(await looks.bytesOf(disk)).toBeUndefined();
  expect(await looks.bytesOf(disk)).toBeUndefined();
  const old = { name: "data", path: disk.path }; // of a daemon that noted none
  expect(await looks.bytesOf(old)).toBeUndefined();
  expect(await looks.bytesOf(old)).toBe(8192);
  const device = { name: "data", path: "/dev/null" };
  expect(await looks.bytesOf(device)).toBeUndefined();
  expect(await looks.bytesOf(device)).toBeUndefined();
});

test("a look that does not come back delays no other pod's, and none is sent after it", async () => {
  const program = join(dir, "hangs");
  // What holds its output is not ended with it: to whoever waits it is as one that cannot be killed.
  await writeFile(program, `#!/bin/sh\nsleep 600 &\necho $! >> ${dir}/started\nwait\n`);
  await chmod(program, 0o700);
  const tooLong = new AbortController();
  const stuck = new DiskLooks({ limit: () => tooLong.signal, program });
  const started = async (): Promise<number[] | undefined> => {
    const text = await readFile(join(dir, "started"), "utf8").catch(() => "");
    return text === "" ? undefined : text.trim().split("\n").map(Number);
  };
  const first = stuck.bytesOf(disk);
  const other = new DiskLooks(PATIENT);
  const second = other.bytesOf(disk);
  const [sleeper = 0] = await pollUntil("it has started", DEADLINE, started);
  expect(sleeper).toBeGreaterThan(1);
  try {
    tooLong.abort(new DOMException("too long", "TimeoutError"));
    await expect(first).rejects.toMatchObject({ kind: "timeout" });
    await second;
    expect(await other.bytesOf(disk)).toBe(1024);
    expect(await stuck.bytesOf(disk)).toBeUndefined();
    expect(await started()).toEqual([sleeper]);
  } finally {
    process.kill(sleeper, "SIGKILL");
  }
});
