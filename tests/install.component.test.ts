// What `make install` writes runs by itself, without the checkout.
import { execFile } from "node:child_process";
import { lstat, mkdtemp, readFile, readlink, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "..");
let dir: string;

async function install(prefix: string, destdir = ""): Promise<void> {
  const env = { ...process.env, PREFIX: prefix, DESTDIR: destdir };
  await run(process.execPath, [join(ROOT, "scripts/install.ts")], { env });
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-inst-"));
  await install(join(dir, "opt"));
});

afterAll(async () => {
  await rm(dir, { recursive: true });
});

test("the programs run with the Node they came with", async () => {
  const env = { PATH: "/usr/bin:/bin" };
  const trine = await run(join(dir, "opt/bin/trine"), ["--version"], { env });
  expect(trine.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  const trined = await run(join(dir, "opt/bin/trined"), ["config", "print"], { env });
  expect(trined.stdout).toContain("apiVersion: config.trine.dev/v1alpha1");
  await expect(run(join(dir, "opt/bin/trine"), ["ps"], { env })).rejects.toMatchObject({
    code: 7,
  });
});

test("containerd finds the shim under the names of both runtime types", async () => {
  for (const level of ["vm", "microvm"]) {
    const link = join(dir, `opt/bin/containerd-shim-trine-${level}-v2`);
    expect(await readlink(link)).toBe("containerd-shim-trine-v2");
    expect((await run(link, ["-v"])).stdout).toMatch(/\d+\.\d+\.\d+/);
  }
});

test("DESTDIR stands before the files and is in none of them; a second install replaces the first", async () => {
  const destdir = join(dir, "stage");
  await install("/usr/local", destdir);
  await install("/usr/local", destdir);
  const read = (path: string): Promise<string> =>
    readFile(join(destdir, "usr/local", path), "utf8");
  expect(await read("bin/trined")).toBe(
    '#!/bin/sh\nexec /usr/local/lib/trine/node /usr/local/lib/trine/trined.mjs "$@"\n',
  );
  const unit = await read("lib/systemd/system/trined.service");
  expect(unit).toContain("\nExecStart=/usr/local/bin/trined\n");
  expect(unit).not.toContain(destdir);
  expect(await read("share/trine/kubernetes/runtimeclasses.yaml")).toContain("handler: trine-vm");
  expect(await read("share/trine/containerd/containerd-1.toml")).toContain("trine-vm");
  for (const file of [
    "bin/trine",
    "bin/trined",
    "lib/trine/node",
    "bin/containerd-shim-trine-v2",
    "bin/trine-p9",
    "bin/trine-rootfs",
    "lib/trine/bin/trine-agent",
  ]) {
    const { mode, uid } = await lstat(join(destdir, "usr/local", file));
    expect([file, mode & 0o777, uid]).toEqual([file, 0o755, process.getuid?.()]);
  }
  const filter = join(destdir, "usr/local/lib/trine/bin/trine-rootfs");
  expect(await realpath(filter)).toBe(join(destdir, "usr/local/bin/trine-rootfs"));
});
