import { mkdtemp, open, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isFileAt, lockFile } from "./index.ts";

test("a lock is one handle's until that is closed, and of the file that was opened", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-lock-"));
  const path = join(dir, "lock");
  const [first, second] = [await open(path, "a"), await open(path, "a")];
  try {
    expect(await lockFile(first)).toBe(true);
    expect(await lockFile(second)).toBe(false);
    const waiting = lockFile(second, 60);
    await first.close();
    expect(await waiting).toBe(true);
    expect(await isFileAt(second, path)).toBe(true);
    await rename(path, join(dir, "other"));
    expect(await isFileAt(second, path)).toBe(false);
  } finally {
    await second.close();
    await rm(dir, { recursive: true });
  }
});
