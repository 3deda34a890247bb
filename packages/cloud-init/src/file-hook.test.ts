import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fileHook, vendorDataOf } from "./index.ts";
import type { GuestFile } from "./index.ts";

const run = promisify(execFile);
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-file-hook-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true });
});

function file(path: string, text: string, more: Partial<GuestFile> = {}): GuestFile {
  return { path: join(dir, path), bytes: Buffer.from(text), mode: 0o640, when: "boot", ...more };
}

/** As the guest does, its note of what was done in the test's directory. */
async function boot(files: readonly GuestFile[]): Promise<void> {
  const script = join(dir, "hook");
  await writeFile(script, (fileHook(files) ?? "").replaceAll("/var/lib/cloud", dir));
  await run("sh", [script]);
}

test("writes what is in them, whatever it is, with their modes", async () => {
  const odd = "it's $HOME `id` \\ END\nEND\n".repeat(20);
  await boot([file("a b/c'd", odd), file("empty", "")]);
  expect(await readFile(join(dir, "a b/c'd"), "utf8")).toBe(odd);
  expect((await stat(join(dir, "a b/c'd"))).mode & 0o7777).toBe(0o640);
  expect(await readFile(join(dir, "empty"), "utf8")).toBe("");
});

test("a file that is there keeps its mode", async () => {
  await writeFile(join(dir, "there"), "old and longer");
  await chmod(join(dir, "there"), 0o600);
  await boot([file("there", "new")]);
  expect(await readFile(join(dir, "there"), "utf8")).toBe("new");
  expect((await stat(join(dir, "there"))).mode & 0o7777).toBe(0o600);
});

test("files of an instance are written once in its life, the others at every boot", async () => {
  const files = [file("once", "1", { when: "instance" }), file("always", "1")];
  await boot(files);
  await writeFile(join(dir, "once"), "the guest's");
  await writeFile(join(dir, "always"), "the guest's");
  await boot(files);
  expect(await readFile(join(dir, "once"), "utf8")).toBe("the guest's");
  expect(await readFile(join(dir, "always"), "utf8")).toBe("1");
});

test.each(["a", "/", "/a/", "/a//b", "/a/../b", "/a\nb", `/${"a".repeat(1100)}`])(
  "refuses %j as a file's path",
  (path) => {
    const given = { path, bytes: Buffer.alloc(0), mode: 0o644, when: "boot" } as const;
    expect(() => fileHook([given])).toThrow(/files: .* is not the absolute path of a file/);
  },
);

test("refuses more files than a seed is for, and is nothing without any", () => {
  expect(() => fileHook(Array.from({ length: 257 }, () => file("a", "")))).toThrow(
    /257; the limit/,
  );
  expect(fileHook([])).toBeUndefined();
});

test("one vendor data stays as it is, none is none", () => {
  expect(vendorDataOf([undefined, "#cloud-boothook\n"])).toBe("#cloud-boothook\n");
  expect(vendorDataOf([undefined])).toBeUndefined();
});
