import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createImageStore } from "@trine/containerd-client";
import { expect, test } from "vitest";
import { collectLeftovers } from "./collect-garbage.ts";

test("a dry run says what would become of each leftover, and leaves it", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-leftovers-"));
  // Nobody listens there: a dry run has nothing to ask.
  const store = createImageStore(join(dir, "none.sock"), "k8s.io");
  try {
    const [dead, begun] = ["trine-import-0", "trine-import-1"];
    const workDir = join(dir, "imports");
    for (const key of [dead, begun]) await mkdir(join(workDir, key), { recursive: true });
    await writeFile(join(workDir, dead, "disk"), "");
    await writeFile(join(workDir, begun, "download"), "half");
    await writeFile(join(workDir, begun, "version.json"), '{"validator":"\\"1\\""}');
    const look = (all: boolean): ReturnType<typeof collectLeftovers> =>
      collectLeftovers(store, { workDir, all, dryRun: true });
    const kept = { key: begun, state: "kept" };
    expect(await look(false)).toEqual([{ key: dead, state: "removed" }, kept]);
    // Nothing is held either: they are found again.
    expect((await look(true)).map(({ state }) => state)).toEqual(["removed", "removed"]);
    expect(await readdir(join(workDir, dead))).toEqual(["disk", "lock"]);
    expect(await readdir(join(workDir, begun))).toEqual(["download", "lock", "version.json"]);
    await expect(collectLeftovers(store, { workDir, all: false })).rejects.toThrow();
  } finally {
    store.close();
    await rm(dir, { recursive: true });
  }
});
