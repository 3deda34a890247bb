import { expect, test } from "vitest";
import { DEFAULT_IMPORT_LIMITS, convertedBytes } from "./limits.ts";

const MIB = 1024 ** 2;
const GIB = 1024 * MIB;
const TIB = 1024 * GIB;

test.each([
  ["a full disk: itself and its tables", 10 * GIB, 10 * GIB, Math.ceil(10.2 * GIB) + 64 * MIB],
  ["a small file of a giant disk: the first GiB", TIB, 70_000, GIB],
  ["a larger one: so many times its size", TIB, 4 * MIB, 4000 * MIB],
  ["a disk larger than any file may be", TIB, TIB, DEFAULT_IMPORT_LIMITS.maxBytes],
])("converting %s", (_, virtualSizeBytes, sizeBytes, most) => {
  expect(convertedBytes({ virtualSizeBytes, sizeBytes }, DEFAULT_IMPORT_LIMITS)).toBe(most);
});

test("--max-size and --max-expansion hold for what is converted", () => {
  const disk = { virtualSizeBytes: TIB, sizeBytes: GIB };
  const limits = { ...DEFAULT_IMPORT_LIMITS, maxExpansion: 2 };
  expect(convertedBytes(disk, limits)).toBe(2 * GIB);
  expect(convertedBytes(disk, { ...limits, maxBytes: 5 * MIB })).toBe(5 * MIB);
});
