// Mounts parts of a volume while its owner changes it, as root.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "@trine/base";
import { afterEach, beforeEach, expect, test } from "vitest";
import { unmountBelow } from "./mounts.ts";
import { bindSubPath } from "./sub-path.ts";

const ROUNDS = 200;

let dir: string;
let volume: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-sub-"));
  volume = join(dir, "v");
  await mkdir(volume);
  await chmod(volume, 0o2775);
});

afterEach(async () => {
  await unmountBelow(dir);
  expect(await readFile("/proc/self/mountinfo", "utf8")).not.toContain(dir);
  await rm(dir, { recursive: true });
});

test("a part of a volume is made as the volume is, and mounted; files too; repeatable", async () => {
  await bindSubPath(volume, "a/./b", join(dir, "at"));
  expect((await stat(join(volume, "a/b"))).mode & 0o7777).toBe(0o2775);
  await writeFile(join(volume, "a/b/file"), "content");
  expect(await readdir(join(dir, "at"))).toEqual(["file"]);
  await bindSubPath(volume, "a/b", join(dir, "at"));
  await bindSubPath(volume, "a/b/file", join(dir, "one"));
  expect(await readFile(join(dir, "one"), "utf8")).toBe("content");
});

test("links and ways out are refused, and nothing is left mounted", async () => {
  await symlink("/etc", join(volume, "out"));
  const target = join(dir, "at");
  await expect(bindSubPath(volume, "out", target)).rejects.toThrow(/symbolic link/);
  await expect(bindSubPath(volume, "out/passwd", target)).rejects.toThrow();
  await expect(bindSubPath(volume, "../x", target)).rejects.toThrow(/leads out/);
  await writeFile(join(volume, "file"), "");
  await expect(bindSubPath(volume, "file/below", target)).rejects.toThrow(/ENOTDIR/);
});

test("a pod that swaps a directory for a link meanwhile never gets what lies outside", async () => {
  await mkdir(join(dir, "in"));
  const secret = (await stat(join(dir, "in"))).ino;
  const swap = `cd ${volume}
    while :; do mkdir -p good/in; rm -rf good; ln -s ${dir} good; rm -rf good; done`;
  const pod = spawn("sh", ["-c", swap], { stdio: "ignore" });
  const seen = new Set<string>();
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      const target = join(dir, `t${round}`);
      try {
        await bindSubPath(volume, "good/in", target);
      } catch (cause) {
        if (/symbolic link/.test(messageOf(cause))) seen.add("refused");
        continue;
      }
      seen.add((await stat(target)).ino === secret ? "secret" : "mounted");
    }
  } finally {
    pod.kill("SIGKILL");
    await once(pod, "close");
  }
  expect([...seen].sort()).toEqual(["mounted", "refused"]);
});
