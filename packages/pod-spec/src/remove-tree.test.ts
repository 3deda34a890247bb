import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kindOf } from "@trine/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { removeTree } from "./remove-tree.ts";

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-tree-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

test("all below goes, whatever its name is; links are not followed; repeatable", async () => {
  const tree = join(dir, "tree");
  await mkdir(join(dir, "kept"));
  await writeFile(join(dir, "kept/file"), "theirs");
  await mkdir(join(tree, "a/b"), { recursive: true });
  await writeFile(join(tree, "a/b/file"), "");
  await writeFile(Buffer.concat([Buffer.from(`${tree}/a/`), Buffer.from([0xff, 0xfe])]), "");
  await symlink(join(dir, "kept"), join(tree, "link"));
  await removeTree(tree);
  await removeTree(tree);
  await removeTree(join(dir, "nosuch/below"));
  expect(await readdir(dir)).toEqual(["kept"]);
  await removeTree(join(dir, "kept/file"));
  expect(await readdir(join(dir, "kept"))).toEqual([]);
});

test("a mount is left as it is", async () => {
  // Every Linux has this one, and nothing in it could be removed.
  const failed = await removeTree("/proc").catch((cause: unknown) => cause);
  expect(kindOf(failed)).toBe("conflict");
  expect(String(failed)).toContain("/proc is a mount");
  expect(await readFile("/proc/version", "utf8")).toContain("Linux");
});
