import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withTempDir } from "@trine/testkit";
import { expect, test } from "vitest";
import { lastWords } from "./last-words.ts";

test("the end of a log, however long that is, and nothing of one that is not there", async () => {
  await withTempDir(async (dir) => {
    const log = join(dir, "vmm.log");
    expect(await lastWords(log)).toBe("");
    await writeFile(log, "assertion failed\n");
    expect(await lastWords(log)).toBe("assertion failed");
    await writeFile(log, `${"x".repeat(5000)}\nassertion failed\n`);
    expect(await lastWords(log)).toMatch(/^x{2030}\nassertion failed$/);
  });
});
