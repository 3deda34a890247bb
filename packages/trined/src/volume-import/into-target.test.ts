import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TrineError } from "@trine/base";
import { VolumeTarget } from "@trine/image-import";
import { afterEach, beforeEach, expect, test } from "vitest";
import { intoTarget, tryTarget } from "./into-target.ts";

const FULL = new TrineError("exhausted", "no space is left on the disk");

const { signal } = new AbortController();

let dir: string;
let target: VolumeTarget;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-target-"));
  target = await VolumeTarget.open({ path: dir, sizeBytes: 1024 * 1024 });
});

afterEach(() => rm(dir, { recursive: true }));

const failing = () => Promise.reject(FULL);

test("a disk that is whole is there by its name", async () => {
  await intoTarget(target, dir, () => target.begin(512), signal);
  expect(await readdir(dir)).toEqual(["disk.img"]);
});

test("of a full disk it is said which, and nothing is left", async () => {
  await expect(intoTarget(target, dir, failing, signal)).rejects.toMatchObject({
    kind: "exhausted",
    message: expect.stringMatching(/^no space is left on the disk: make room on/) as string,
  });
  expect(await readdir(dir)).toEqual([]);
});

test("where that cannot be asked the error is the same, and nothing is left", async () => {
  await expect(intoTarget(target, join(dir, "gone"), failing, signal)).rejects.toBe(FULL);
  expect(await readdir(dir)).toEqual([]);
});

test("what cannot be taken away does not hide why it was to be", async () => {
  const failing = async (): Promise<void> => {
    const [part = ""] = await readdir(dir);
    await rm(join(dir, part));
    await mkdir(join(dir, part));
    throw FULL;
  };
  const failed = intoTarget(target, join(dir, "gone"), failing, signal);
  await expect(failed).rejects.toBe(FULL);
});

/** More than any file system has. */
const HUGE = 2 ** 50;

test("a disk that is to have its space is not begun where there is none, and the volume is what is too small", async () => {
  const open = () => VolumeTarget.open({ path: dir, sizeBytes: HUGE, preallocate: true });
  await target.discard();
  let isBegun = false;
  const write = () => {
    isBegun = true;
    return Promise.resolve();
  };
  const told = {
    kind: "exhausted",
    message: expect.stringMatching(
      /no space is left on the disk: make room on the volume/,
    ) as string,
  };
  await expect(intoTarget(await open(), dir, write, signal)).rejects.toMatchObject(told);
  await expect(tryTarget(await open(), signal)).rejects.toMatchObject(told);
  expect(isBegun).toBe(false);
  expect(await readdir(dir)).toEqual([]);
});
