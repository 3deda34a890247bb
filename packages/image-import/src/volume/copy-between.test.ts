import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { giveVolume, takeVolume } from "./copy-between.ts";
import { endOfRuns, headOfRun, startOfRuns } from "./raw-runs.ts";
import { VolumeTarget } from "./volume-target.ts";

const MIB = 1024 * 1024;
const { signal } = new AbortController();

let dir: string;
let source: string;
let volume: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-copy-"));
  source = join(dir, "source.img");
  volume = join(dir, "volume");
  await mkdir(volume);
});

afterEach(async () => {
  await rm(dir, { recursive: true });
});

/** The same bytes, cut elsewhere. */
async function* cut(whole: Buffer, every: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < whole.length; at += every) {
    yield await Promise.resolve(whole.subarray(at, at + every));
  }
}

async function given(): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of giveVolume(source, signal)) parts.push(part);
  return Buffer.concat(parts);
}

async function take(whole: Buffer, { every = 65_536, sizeBytes = 8 * MIB } = {}): Promise<void> {
  const target = await VolumeTarget.open({ path: volume, sizeBytes });
  try {
    await takeVolume(target, cut(whole, every), () => undefined, signal);
    await target.finish(signal);
  } catch (cause) {
    await target.discard();
    throw cause;
  }
  await target.close();
}

const NOISE = randomBytes(3 * MIB);
const HOLE = Buffer.alloc(2 * MIB);

test.each([
  ["noise", [NOISE], 65_536],
  ["nothing", [], 7],
  ["zeros alone", [HOLE], 5],
  ["a hole in the middle, cut anywhere", [NOISE, HOLE, NOISE.subarray(0, 1_000)], 9_973],
  ["a hole first, and a last sector that is short", [HOLE, NOISE.subarray(0, 70_001)], 65_536],
])("%s comes as it was, as large as the volume wants it", async (_, parts, every) => {
  const disk = Buffer.concat(parts);
  await writeFile(source, disk);
  await take(await given(), { every });
  const made = await readFile(join(volume, "disk.img"));
  expect(made.length).toBe(8 * MIB);
  expect(made.subarray(0, disk.length).equals(disk)).toBe(true);
  expect(made.subarray(disk.length).equals(Buffer.alloc(made.length - disk.length))).toBe(true);
});

test("holes are neither sent nor written", async () => {
  await writeFile(source, NOISE.subarray(0, MIB));
  await truncate(source, 6 * MIB);
  const sent = await given();
  expect(sent.length).toBeLessThan(MIB + 1_000);
  await take(sent);
  const { blocks } = await stat(join(volume, "disk.img"));
  expect(blocks * 512).toBeLessThan(2 * MIB);
});

const HALF = NOISE.subarray(0, 100);
test.each([
  ["cut off in a run", [startOfRuns(MIB), headOfRun(0, 200), HALF], "canceled"],
  ["cut off before the end", [startOfRuns(MIB), headOfRun(0, 100), HALF], "canceled"],
  ["nothing at all", [], "canceled"],
  ["no disk", [Buffer.alloc(64, "x")], "malformed"],
  ["larger than the volume", [startOfRuns(9 * MIB), headOfRun(0, 100), HALF], "invalid"],
  ["larger, and empty", [startOfRuns(9 * MIB), endOfRuns(9 * MIB)], "invalid"],
  [
    "of no size that there is",
    [Buffer.concat([startOfRuns(0).subarray(0, 8), Buffer.alloc(8, 0xff)])],
    "malformed",
  ],
  ["beyond its size", [startOfRuns(MIB), headOfRun(MIB - 50, 100), HALF], "malformed"],
  [
    "out of order",
    [startOfRuns(MIB), headOfRun(500, 100), HALF, headOfRun(0, 100), HALF],
    "malformed",
  ],
  ["too long a run", [startOfRuns(1024 * MIB), headOfRun(0, 17 * MIB)], "malformed"],
  ["an end that is too early", [startOfRuns(MIB), headOfRun(100, 0)], "malformed"],
  ["more behind the end", [startOfRuns(0), endOfRuns(0), HALF], "malformed"],
])("%s is refused, and leaves nothing", async (_, parts, kind) => {
  await expect(take(Buffer.concat(parts))).rejects.toMatchObject({ kind });
  await expect(stat(join(volume, "disk.img"))).rejects.toMatchObject({ code: "ENOENT" });
});

test("a source that is no file gives nothing", async () => {
  await mkdir(source);
  await expect(given()).rejects.toMatchObject({ kind: "invalid" });
});
