import { mkdtemp, open, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { copyForAll, isReadableToAll } from "./readable.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-readable-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

test("the file that was opened is copied, not one that took its name", async () => {
  const path = join(dir, "disk");
  await writeFile(path, "checked", { mode: 0o600 });
  const handle = await open(path, "r");
  await writeFile(join(dir, "other"), "another", { mode: 0o644 });
  await rename(join(dir, "other"), path);
  expect(await isReadableToAll(handle)).toBe(false);
  const copy = await copyForAll(handle, join(dir, "copy"));
  expect(await copy.readFile("utf8")).toBe("checked");
  expect(await isReadableToAll(copy)).toBe(true);
  await Promise.all([handle.close(), copy.close()]);
});
