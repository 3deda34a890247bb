import { mkdtemp, open, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { copyDisk } from "./copy-disk.ts";
import { isReadableToAll } from "./jail/readable.ts";

const MIB = 1024 * 1024;
const FOREVER = new AbortController().signal;
const nothing = (): void => undefined;

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-copy-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

test("the file that was opened is copied, not one that took its name", async () => {
  const path = join(dir, "disk");
  await writeFile(path, "checked", { mode: 0o600 });
  await using handle = await open(path, "r");
  await writeFile(join(dir, "other"), "another", { mode: 0o644 });
  await rename(join(dir, "other"), path);
  expect(await isReadableToAll(handle)).toBe(false);
  await using copy = await copyDisk(handle, join(dir, "copy"), nothing, FOREVER);
  expect(await copy.readFile("utf8")).toBe("checked");
  await copy.chmod(0o644);
  expect(await isReadableToAll(copy)).toBe(true);
});

test("every byte is copied, and runs of zeros take no space", async () => {
  const path = join(dir, "disk");
  const bytes = Buffer.alloc(6 * MIB + 1234);
  bytes.fill(7, 1000, 3000);
  bytes.fill(8, 5 * MIB - 1, 5 * MIB + 1);
  await writeFile(path, bytes);
  await using handle = await open(path, "r");
  const seen: number[] = [];
  const note = ({ done }: { done: number }): number => seen.push(done);
  await using copy = await copyDisk(handle, join(dir, "copy"), note, FOREVER);
  expect((await copy.readFile()).equals(bytes)).toBe(true);
  expect([[], [4 * MIB, bytes.length]]).toContainEqual(seen); // a file system may share the blocks
  const { size, blocks } = await stat(join(dir, "copy"));
  expect(size).toBe(bytes.length);
  if (seen.length > 0) expect(blocks * 512).toBeLessThan(MIB);
});

test("an interrupt ends it between two parts, and a file that is there is not written over", async () => {
  const path = join(dir, "disk");
  await writeFile(path, Buffer.alloc(9 * MIB, 1));
  await using handle = await open(path, "r");
  const stop = new AbortController();
  stop.abort(new Error("^C"));
  const begun = copyDisk(handle, join(dir, "copy"), nothing, stop.signal);
  const ended = await begun.then(
    async (copy) => copy.close(),
    (cause: unknown) => cause,
  );
  expect([undefined, stop.signal.reason]).toContain(ended); // shared blocks need no parts
  await expect(copyDisk(handle, path, nothing, FOREVER)).rejects.toMatchObject({ code: "EEXIST" });
});
