import { execFile } from "node:child_process";
import {
  link,
  mkdir,
  open,
  readFile,
  readdir,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { withTempDir } from "@trine/testkit";
import { beforeAll, expect, test } from "vitest";
import { LayerPrototype } from "./layer-prototype.ts";
import { placeLayer } from "./place-layer.ts";

const run = promisify(execFile);
const MIB = 1024 * 1024;
const UID = process.getuid?.() ?? 0;
const GID = process.getgid?.() ?? 0;
const STATE_AT = 1024 + 0x3a;

let prototype: LayerPrototype;
const made = (): Promise<LayerPrototype> => Promise.resolve(prototype);

beforeAll(async () => {
  await withTempDir(async (dir) => {
    prototype = await LayerPrototype.make(join(dir, "scratch"), 256 * MIB);
    expect(await readdir(dir)).toEqual([]);
  });
});

function inUpper(body: (upper: string) => Promise<void>): Promise<void> {
  return withTempDir(async (dir) => {
    const upper = join(dir, "fs");
    await mkdir(upper);
    await body(upper);
  });
}

/** What ext4 does to its superblock while it is mounted. */
async function setState(path: string, state: number): Promise<void> {
  await using file = await open(path, "r+");
  await file.write(Buffer.from([state, 0]), 0, 2, STATE_AT);
}

test("an empty file system of the size that takes next to nothing", () =>
  inUpper(async (upper) => {
    const path = await placeLayer(upper, UID, made);
    expect(path).toBe(join(upper, ".trine/root.ext4"));
    const { size, blocks, mode } = await stat(path ?? "");
    expect([size, mode & 0o777]).toEqual([256 * MIB, 0o600]);
    expect(blocks * 512).toBeLessThan(MIB);
    expect(await readdir(join(upper, ".trine"))).toEqual(["root.ext4"]);
  }));

test("the agent finds the overlay's directories made", () =>
  inUpper(async (upper) => {
    const path = (await placeLayer(upper, UID, made)) ?? "";
    const { stdout } = await run("/usr/sbin/debugfs", ["-R", "ls -p /", path]);
    // /inode/mode/uid/gid/name/size/
    const entries = stdout.split("\n").map((line) => line.split("/").slice(2, 6).join(" "));
    expect(entries).toContain(`040755 ${UID} ${GID} files`);
    expect(entries).toContain(`040755 ${UID} ${GID} work`);
  }));

test("what a run that ended well has left is used again, what another has left is not", () =>
  inUpper(async (upper) => {
    const path = (await placeLayer(upper, UID, made)) ?? "";
    const { ino } = await stat(path);
    await placeLayer(upper, UID, made);
    expect((await stat(path)).ino).toBe(ino);
    await setState(path, 0);
    await placeLayer(upper, UID, made);
    expect((await stat(path)).ino).not.toBe(ino);
    expect((await readFile(path)).readUInt16LE(STATE_AT)).toBe(1);
  }));

test("a container that has written without a disk goes on without", () =>
  inUpper(async (upper) => {
    await writeFile(join(upper, "its-own"), "");
    expect(await placeLayer(upper, UID, made)).toBeUndefined();
    expect(await readdir(upper)).toEqual(["its-own"]);
  }));

test("nothing that lies there leads to another file", () =>
  inUpper(async (upper) => {
    const secret = join(upper, "../secret");
    await writeFile(secret, "kept");
    await mkdir(join(upper, ".trine"));
    const path = join(upper, ".trine/root.ext4");
    for (const lay of [symlink, link, (_: string, at: string) => mkdir(at)]) {
      await lay(secret, path);
      expect(await placeLayer(upper, UID, made)).toBe(path);
      expect([(await stat(path)).isFile(), (await stat(path)).nlink]).toEqual([true, 1]);
      expect(await readFile(secret, "utf8")).toBe("kept");

      await rm(path);
    }
  }));

test("a disk that is full leaves nothing half done", () =>
  inUpper(async (upper) => {
    const full = (): Promise<LayerPrototype> => Promise.reject(new Error("ENOSPC"));
    await expect(placeLayer(upper, UID, full)).rejects.toThrow("make the writable layer");
    expect(await readdir(join(upper, ".trine"))).toEqual([]);
  }));
