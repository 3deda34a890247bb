import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openWithin } from "./open-within.ts";

const run = promisify(execFile);
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-open-within-"));
  // As kubelet writes a ConfigMap.
  await mkdir(join(dir, "..2027_01_31/sub"), { recursive: true });
  await writeFile(join(dir, "..2027_01_31/key"), "of the map");
  await writeFile(join(dir, "..2027_01_31/sub/deep"), "deep");
  await symlink("..2027_01_31", join(dir, "..data"));
  await symlink("..data/key", join(dir, "key"));
  await symlink("..data/sub", join(dir, "sub"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

async function read(...parts: string[]): Promise<string> {
  await using handle = await openWithin({ dir, parts });
  return await handle.readFile("utf8");
}

test("follows the links of a volume as kubelet makes them", async () => {
  expect(await read("key")).toBe("of the map");
  expect(await read("sub", "deep")).toBe("deep");
  await using whole = await openWithin({ dir, parts: [] });
  expect((await whole.stat()).isDirectory()).toBe(true);
});

test.each([
  ["an absolute link", "/etc/passwd", /"bad" is a link that leads out/],
  ["a link upwards", "../../etc/passwd", /"bad" is a link that leads out/],
  ["a link down and up again", "..data/../../x", /"bad" is a link that leads out/],
  ["a link to itself", "bad", /"bad" is one of too many links/],
])("refuses %s", async (_, target, says) => {
  await symlink(target, join(dir, "bad"));
  await expect(read("bad")).rejects.toMatchObject({ kind: "invalid" });
  await expect(read("bad")).rejects.toThrow(says);
});

test("refuses a pipe without opening it, and says what is not there", async () => {
  await run("mkfifo", [join(dir, "pipe")]);
  await expect(read("pipe")).rejects.toThrow(/"pipe" is neither a regular file nor a directory/);
  await expect(read("none")).rejects.toMatchObject({ kind: "notFound" });
  await expect(read("key", "below")).rejects.toMatchObject({ kind: "notFound" });
});

test("keeps no descriptor of what it refused", async () => {
  await symlink("/", join(dir, "bad"));
  const before = (await readFile("/proc/self/status", "utf8")).match(/FDSize:\s*(\d+)/)?.[1];
  for (let i = 0; i < 300; i += 1) await expect(read("bad")).rejects.toThrow();
  expect((await readFile("/proc/self/status", "utf8")).match(/FDSize:\s*(\d+)/)?.[1]).toBe(before);
});
