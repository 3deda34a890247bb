import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pollUntil } from "@trine/base";
import { ShimLink } from "@trine/shim-client";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeShim } from "../testing/fake-shim.ts";
import { ensureRoot, writerEnd } from "./image-root.ts";
import type { RootTarget } from "./image-root.ts";
import { rootHeader } from "./root-header.ts";

const MIB = 1024 * 1024;
const uid = 4242;

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "trine-ir-"));
});

afterEach(() => rm(dir, { recursive: true }));

const target = (): RootTarget => {
  return { node: join(dir, "node"), uid, bytes: 2 * MIB, path: "/dev/root", onOther: "refuse" };
};

test("an image's sum is its own whatever its file is called", async () => {
  const path = join(dir, "a\\b\nc");
  await writeFile(path, "image");
  const sum = createHash("sha256").update("image").digest("hex");
  const answer = { exitCode: 0, stdout: rootHeader("complete", sum), stderr: "" };
  const shim = { run: () => Promise.resolve(answer) } as unknown as ShimLink;
  const image = { path, format: "raw", bytes: MIB } as const;
  await ensureRoot({ shim, podDir: dir }, image, target());
});

test("a root is written by its machine's user, who sees no other process, from a file that the user may read", async () => {
  const fake = new FakeShim({ sandboxId: "p", bundle: dir, podDir: join(dir, "pod") });
  await fake.listen();
  const shim = await ShimLink.open(fake.address, AbortSignal.timeout(10_000));
  try {
    const path = join(dir, "disk.raw");
    await writeFile(path, "image");
    await chmod(path, 0o4600);
    const image = { path, format: "raw", bytes: MIB } as const;
    const written = ensureRoot({ shim, podDir: dir }, image, target());
    const key = await pollUntil("it is written", { ms: 10_000, everyMs: 5 }, () => {
      return fake.spawned[0]?.key;
    });
    expect(fake.spawned[0]).toMatchObject({ uid, gid: uid, jail: { newPid: true } });
    expect((await stat(path)).mode & 0o7777).toBe(0o604);
    fake.end(key, { exitStatus: 0 });
    await written;
  } finally {
    shim.close();
    await fake.die();
  }
});

/** A writer that has read more each time somebody looks, `times` times, and ends then or hangs. */
async function writer(times: number, then: "ends" | "hangs"): Promise<Pick<ShimLink, "describe">> {
  await mkdir(join(dir, "7"));
  let looked = 0;
  return {
    describe: async () => {
      looked += 1;
      if (looked <= times) await writeFile(join(dir, "7/io"), `rchar: ${looked}\n`);
      const running = looked <= times || then === "hangs";
      const children = [{ key: "w", pid: 7, running }];
      return { children } as unknown as Awaited<ReturnType<ShimLink["describe"]>>;
    },
  };
}

test("a writer has as long as it goes on, and one that hangs has not", async () => {
  const named = { key: "w", what: "the root is written" };
  const stall = { ms: 20, everyMs: 2, procDir: dir };
  const slow = await writer(30, "ends");
  expect(await writerEnd(slow, named, stall)).toMatchObject({ running: false });
  await rm(join(dir, "7"), { recursive: true });
  const hangs = writerEnd(await writer(3, "hangs"), named, stall);
  await expect(hangs).rejects.toMatchObject({ kind: "timeout" });
});
