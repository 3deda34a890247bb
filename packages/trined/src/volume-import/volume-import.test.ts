import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { headersOf } from "./http-of.ts";
import { Says, percentOf } from "./says.ts";

test.each([
  [{ step: "download", done: 50, total: 100 } as const, 25],
  [{ step: "download", done: 50 } as const, 0],
  [{ step: "download", done: 50, total: 100, isLast: true } as const, 50],
  [{ step: "unpack", done: 1 << 30 } as const, 50],
  [{ step: "convert", done: 50, total: 100 } as const, 80],
  [{ step: "store", done: 200, total: 100 } as const, 100],
])("%o is %d of 100", (progress, percent) => {
  expect(percentOf(progress)).toBe(percent);
});

test("an import that begins a step anew does not go back, and its end is told last", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-says-"));
  const says = new Says(dir);
  says.onProgress({ step: "convert", done: 1, total: 2 });
  says.onProgress({ step: "download", done: 0, total: 2 });
  await says.end("failed", "no space");
  const word: unknown = JSON.parse(await readFile(join(dir, "word.json"), "utf8"));
  expect(word).toEqual({ state: "failed", progress: 80, message: "no space" });
  await rm(dir, { recursive: true });
});

test("headers are lines, and what is none is not repeated", () => {
  expect(headersOf(["X-Key: a: b", "accept:*/*\n"])).toEqual({ "x-key": "a: b", accept: "*/*" });
  for (const line of ["no header", "a b: c", "X: a\nHost: b", ": x"]) {
    expect(() => headersOf([line])).toThrow(
      expect.objectContaining({
        kind: "invalid",
        message: expect.not.stringContaining(line) as string,
      }),
    );
  }
});
