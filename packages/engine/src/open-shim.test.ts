import { mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lockFile } from "@trine/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openUnlessDead } from "./open-shim.ts";

let parent: string;
let dir: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "trine-open-shim-"));
  dir = join(parent, "pod");
  await mkdir(dir);
});
afterEach(async () => {
  await rm(parent, { recursive: true });
});

test("a directory whose lock nobody holds is a dead shim's, as is one without a lock", async () => {
  expect(await openUnlessDead(dir)).toBeUndefined();
  await writeFile(join(dir, "lock"), "");
  expect(await openUnlessDead(dir)).toBeUndefined();
  expect(await openUnlessDead(join(parent, "gone"))).toBeUndefined();
});

test("one whose lock is held lives, though it does not listen yet; who looked holds nothing", async () => {
  await using lock = await open(join(dir, "lock"), "w");
  expect(await openUnlessDead(dir)).toBeUndefined();
  expect(await lockFile(lock)).toBe(true);
  await expect(openUnlessDead(dir)).rejects.toThrow("nobody answers");
  await using above = await open(parent, "r");
  expect(await lockFile(above)).toBe(true);
});
