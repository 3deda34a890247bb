import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildIso9660 } from "@trine/disk-images";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Bundle } from "../bundle.ts";
import type { PodFiles } from "../pod-files.ts";
import { writeFilesDisk } from "./files-disk.ts";

let dir: string;
let volume: string;
const filesDir = (): string => join(dir, "files");

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-files-"));
  volume = join(dir, "volume");
  await mkdir(join(volume, "..2027", "deep", "er"), { recursive: true });
  await symlink("..2027", join(volume, "..data"));
  for (const name of ["plain", "deep"]) await symlink(`..data/${name}`, join(volume, name));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

async function write(path: string, label = "cfgdata"): Promise<Buffer> {
  const mounts = [{ destination: "/cfg", type: "bind", source: volume, options: ["rbind", "ro"] }];
  const input = {
    bundle: { spec: { mounts } } as unknown as Bundle,
    files: { filesDir: filesDir() } as PodFiles,
  };
  const made = await writeFilesDisk(input, "more", { kind: "files", path, label });
  const image = await readFile(made.path);
  expect(image.length).toBe(made.bytes);
  return image;
}

test("shows the files of a volume as kubelet wrote them, those below too, and a single one", async () => {
  await writeFile(join(volume, "..2027", "plain"), "one");
  await writeFile(join(volume, "..2027", "deep", "er", "labels"), "two");
  const bytes = (text: string): Buffer => Buffer.from(text);
  expect(await write("/cfg", "OEMDRV")).toEqual(
    buildIso9660(
      [
        { name: "plain", bytes: bytes("one") },
        { name: "deep/er/labels", bytes: bytes("two") },
      ],
      { volumeLabel: "OEMDRV" },
    ),
  );
  expect((await stat(join(filesDir(), "more.iso"))).mode & 0o777).toBe(0o600);
  // Made again, it is what is there now.
  const one = [{ name: "plain", bytes: bytes("one") }];
  expect(await write("/cfg/plain")).toEqual(buildIso9660(one, { volumeLabel: "cfgdata" }));
  expect(await readdir(filesDir())).toEqual(["more.iso"]);
});

test("an optional volume that is not there is an empty disk", async () => {
  await rm(join(volume, "..2027"), { recursive: true });
  for (const name of ["plain", "deep"]) await rm(join(volume, name));
  expect(await write("/cfg")).toEqual(buildIso9660([], { volumeLabel: "cfgdata" }));
});

test("what is too much, too many, or leads elsewhere is refused, and nothing is written", async () => {
  await symlink("/etc/passwd", join(volume, "..2027", "plain"));
  await expect(write("/cfg")).rejects.toThrow(/leads out of its directory/);
  await rm(join(volume, "..2027", "plain"));
  await writeFile(join(volume, "..2027", "plain"), Buffer.alloc(1024 * 1024));
  await writeFile(join(volume, "..2027", "deep", "b"), Buffer.alloc(1024 * 1024));
  await expect(write("/cfg")).rejects.toThrow(/more than \d+ bytes/);
  await rm(join(volume, "..2027", "deep", "b"));
  for (let index = 0; index < 255; index += 1) {
    await mkdir(join(volume, "..2027", "deep", `d${index}`));
  }
  await expect(write("/cfg")).rejects.toThrow(/\d+ files; the limit is 256/);
  await expect(write("/elsewhere")).rejects.toThrow(/no volume of the container is mounted/);
  await expect(readdir(filesDir())).rejects.toThrow("ENOENT");
});

test("a key may be as long as Kubernetes lets it be; what cannot be shown is named with its volume", async () => {
  const long = `${"k".repeat(250)}.ab`;
  const at = join(volume, "..2027");
  await writeFile(join(at, long), "one");
  await symlink(`..data/${long}`, join(volume, long));
  await writeFile(join(at, "plain"), "two");
  const image = await write("/cfg");
  expect(image.includes("k".repeat(128))).toBe(true);
  await rm(join(volume, long));

  const deepest = join(at, "deep/2/3/4/5/6");
  await mkdir(deepest, { recursive: true });
  await writeFile(join(deepest, "file"), "three");
  expect((await write("/cfg")).includes("three")).toBe(true);
  await mkdir(join(deepest, "7"));
  await expect(write("/cfg")).rejects.toThrow(/^read \/cfg: "deep\/2\/3\/4\/5\/6\/7" is too deep/);
  await rm(join(deepest, "7"), { recursive: true });
  await writeFile(join(deepest, "a b"), "four");
  await expect(write("/cfg")).rejects.toThrow(/files of \/cfg on a disk: .*6\/a b" cannot be used/);
});
