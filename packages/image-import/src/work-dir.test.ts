import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { WorkDir } from "./work-dir.ts";

test("imports of one source share a key where they share a lock, and nowhere else", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-work-"));
  try {
    const [ours, theirs] = [join(dir, "a"), join(dir, "b")];
    const first = await WorkDir.open(ours, "https://x.test/disk");
    await expect(WorkDir.open(ours, "https://x.test/disk")).rejects.toMatchObject({
      kind: "conflict",
    });
    const other = await WorkDir.open(theirs, "https://x.test/disk");
    expect(other.key).not.toBe(first.key);
    await other.remove();
    await first.leave();
    const again = await WorkDir.open(ours, "https://x.test/disk");
    expect(again.key).toBe(first.key);
    await again.remove();
  } finally {
    await rm(dir, { recursive: true });
  }
});
