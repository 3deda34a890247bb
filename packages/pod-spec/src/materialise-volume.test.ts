import {
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { writeAtomically } from "./atomic-files.ts";
import { materialiseVolume } from "./materialise-volume.ts";
import { resolveOwnSubPath } from "./sub-path.ts";

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-volumes-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

const home = (): { disk: string; memory: string } => ({
  disk: join(dir, "disk"),
  memory: join(dir, "memory"),
});
const file = (
  path: string,
  text: string,
  mode = 0o640,
): { path: string; mode: number; data: Buffer } => ({
  ...{ path, mode, data: Buffer.from(text) },
});

test("files change all at once, and what is gone goes", async () => {
  const volume = join(dir, "v");
  await writeAtomically(volume, [file("a", "1"), file("d/b", "2")]);
  const before = await readlink(join(volume, "..data"));
  expect(await readlink(join(volume, "d"))).toBe("..data/d");
  expect((await stat(join(volume, "a"))).mode & 0o777).toBe(0o640);
  await writeAtomically(volume, [file("a", "3")]);
  expect(await readFile(join(volume, "a"), "utf8")).toBe("3");
  expect(await readlink(join(volume, "..data"))).not.toBe(before);
  expect((await readdir(volume)).filter((name) => !/^\.\.\d/.test(name)).sort()).toEqual([
    "..data",
    "a",
  ]);
  expect((await readdir(volume)).length).toBe(3);
});

test("hostPath: each type is checked, the OrCreate ones are made", async () => {
  const make = (
    name: string,
    type: "" | "File" | "FileOrCreate" | "DirectoryOrCreate" | "Socket",
  ): Promise<string> =>
    materialiseVolume("v", { kind: "host", path: join(dir, name), type }, home(), undefined);
  await make("made", "DirectoryOrCreate");
  await make("touched", "FileOrCreate");
  expect((await stat(join(dir, "touched"))).isFile()).toBe(true);
  await expect(make("made", "File")).rejects.toThrow(/made is no File/);
  await expect(make("nothing", "Socket")).rejects.toMatchObject({ kind: "notFound" });
  await expect(make("no/dir/file", "FileOrCreate")).rejects.toMatchObject({ kind: "notFound" });
});

test("fsGroup owns an emptyDir and reads files", async () => {
  const gid = process.getgid?.() ?? 0;
  const path = await materialiseVolume("v", { kind: "directory" }, home(), gid);
  expect((await stat(path)).mode & 0o7777).toBe(0o2777);
  const files = await materialiseVolume(
    "f",
    { kind: "files", files: [file("a", "1", 0o400)] },
    home(),
    gid,
  );
  expect((await stat(join(files, "a"))).mode & 0o7777).toBe(0o440);
});

test("a subPath of files of our own follows their links, and does not lead out", async () => {
  const volume = join(dir, "v");
  await mkdir(join(volume, "..data"), { recursive: true });
  await writeFile(join(volume, "..data/a"), "");
  await symlink("..data/a", join(volume, "a"));
  expect(await resolveOwnSubPath(volume, "a")).toBe(join(volume, "..data/a"));
  await writeFile(join(dir, "secret"), "");
  await symlink("../secret", join(volume, "up"));
  await expect(resolveOwnSubPath(volume, "up")).rejects.toThrow(/leads out/);
  await expect(resolveOwnSubPath(volume, "none")).rejects.toMatchObject({ kind: "notFound" });
});
