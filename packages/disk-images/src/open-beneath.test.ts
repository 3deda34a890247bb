import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openBeneath } from "./open-beneath.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-open-beneath-"));
  await writeFile(join(dir, "file"), "text");
});
afterEach(() => rm(dir, { recursive: true }));

const both = { write: true, create: true };

test("a regular file is opened, and made where it is not there", async () => {
  await using file = await openBeneath({ dir, parts: ["file"] });
  expect(await file.readFile("utf8")).toBe("text");
  await using again = await openBeneath({ dir, parts: ["file"] }, both);
  await again.write("T", 0);
  expect(await readFile(join(dir, "file"), "utf8")).toBe("Text");
  await expect(openBeneath({ dir, parts: ["new"] })).rejects.toMatchObject({ kind: "notFound" });
  await using made = await openBeneath({ dir, parts: ["new"] }, both);
  await made.write("made");
  expect((await stat(join(dir, "new"))).mode & 0o7777).toBe(0o600);
});

test.each([{}, both])("nothing else is opened (%j)", async (how) => {
  await mkdir(join(dir, "directory"));
  await symlink("file", join(dir, "link"));
  await symlink("nothing", join(dir, "dangling"));
  await promisify(execFile)("mkfifo", [join(dir, "pipe")]);
  for (const name of ["directory", "link", "dangling", "pipe"]) {
    await expect(openBeneath({ dir, parts: [name] }, how)).rejects.toMatchObject({
      kind: "invalid",
      message: expect.stringContaining(`${name}" is a link, or is not a regular file`) as string,
    });
  }
  await symlink(dir, join(dir, "other"));
  await expect(openBeneath({ dir, parts: ["other", "file"] }, how)).rejects.toMatchObject({
    kind: "invalid",
  });
});
