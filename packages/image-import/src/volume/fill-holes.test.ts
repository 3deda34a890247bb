import { randomBytes } from "node:crypto";
import { mkdtemp, open, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fillHoles } from "./fill-holes.ts";

const MIB = 1024 * 1024;
const BLOCK = 512; // as stat(2) counts them
const SIZE = 3 * MIB + 700;
let dir: string;
let handle: FileHandle;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-holes-"));
  handle = await open(join(dir, "disk"), "wx+");
  await handle.truncate(SIZE);
});
afterEach(async () => {
  await handle.close();
  await rm(dir, { recursive: true });
});

const spaceOf = async (): Promise<number> => {
  await handle.sync();
  return (await handle.stat()).blocks * BLOCK;
};

test("a file with holes has its space, and the same bytes", async () => {
  const noise = randomBytes(8_192);
  await handle.write(noise, 0, noise.length, MIB + 64 * 1024);
  expect(await spaceOf()).toBeLessThan(MIB);
  await fillHoles(handle, new AbortController().signal);
  expect(await spaceOf()).toBeGreaterThanOrEqual(SIZE);
  const bytes = Buffer.alloc(SIZE + 1);
  const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
  const wanted = Buffer.alloc(SIZE);
  noise.copy(wanted, MIB + 64 * 1024);
  expect(bytesRead).toBe(SIZE);
  expect(wanted.equals(bytes.subarray(0, SIZE))).toBe(true);
});

test("it ends with the import", async () => {
  const why = new TrineError("canceled", "the pod is ended");
  await expect(fillHoles(handle, AbortSignal.abort(why))).rejects.toBe(why);
  expect(await spaceOf()).toBeLessThan(MIB);
});
