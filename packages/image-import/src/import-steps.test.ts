import { mkdtemp, open, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readableInJail } from "./import-steps.ts";
import type { Job } from "./import-steps.ts";
import { httpOf } from "./testing.ts";
import { WorkDir } from "./work-dir.ts";

test("the copy of a private disk takes the place of one that was killed half way", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-steps-"));
  try {
    const path = join(dir, "disk");
    await writeFile(path, "all of it", { mode: 0o600 });
    const killed = await WorkDir.open(join(dir, "imports"), `file:${path}`);
    await writeFile(join(killed.path, "copy"), "all of it, and more", { mode: 0o600 });
    await killed.leave();
    await using handle = await open(path, "r");
    const work = await WorkDir.open(join(dir, "imports"), `file:${path}`);
    const copy = await readableInJail(jobIn(work, path), { handle, path, isOwn: false });
    await using copied = copy.handle;
    expect(await copied.readFile("utf8")).toBe("all of it");
    expect((await stat(copy.path)).mode & 0o777).toBe(0o644);
    await work.remove();
  } finally {
    await rm(dir, { recursive: true });
  }
});

function jobIn(work: WorkDir, source: string): Job {
  const request = {
    source,
    reference: "localhost/a:1",
    limits: { maxBytes: 4096, maxExpansion: 10, checkTables: true },
    http: httpOf(),
    retries: 0,
    keepPartial: false,
    workDir: join(work.path, ".."),
    snapshotter: "overlayfs",
    architecture: "amd64",
  };
  const signal = new AbortController().signal;
  return { request, work, what: source, onProgress: () => undefined, signal };
}
