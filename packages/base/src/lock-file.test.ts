import { mkdtemp, open, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isFileAt, lockFile } from "./index.ts";

test("an abort ends the wait for a lock, also one that came before", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-lock-"));
  const path = join(dir, "lock");
  const [first, second] = [await open(path, "a"), await open(path, "a")];
  try {
    expect(await lockFile(first)).toBe(true);
    const interrupt = new AbortController();
    const waiting = lockFile(second, 3600, interrupt.signal);
    interrupt.abort(new Error("^C"));
    await expect(waiting).rejects.toMatchObject({ kind: "canceled" });
    await expect(lockFile(second, 3600, interrupt.signal)).rejects.toMatchObject({
      kind: "canceled",
    });
    await first.close();
    expect(await lockFile(second)).toBe(true);
  } finally {
    await second.close();
    await rm(dir, { recursive: true });
  }
});

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
