import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { classNameOf, classesOf, writeClass } from "./spare-class.ts";

const MIB = 1024 * 1024;

function classes(pool: readonly object[]): ReturnType<typeof classesOf> {
  const microvms = { pool, defaultCpus: 2, defaultMemoryBytes: 512 * MIB };
  return classesOf({ microvms } as unknown as Parameters<typeof classesOf>[0]);
}

test("a size that is not named is the node's", () => {
  expect(classes([{ count: 3 }])).toEqual([{ cpus: 2, memoryBytes: 512 * MIB, count: 3 }]);
});

test("sizes are made whole as a pod's are, and what is the same then is one class", () => {
  const pool = [
    { count: 1, cpus: 1, memoryBytes: 256 * MIB + 5 },
    { count: 4, cpus: 1, memoryBytes: 256 * MIB },
    { count: 2, memoryBytes: MIB },
  ];
  expect(classes(pool)).toEqual([
    { cpus: 1, memoryBytes: 256 * MIB, count: 4 },
    { cpus: 2, memoryBytes: 112 * MIB, count: 2 },
  ]);
  expect(classes(pool).map(classNameOf)).toEqual(["1-256", "2-112"]);
});

test("what a shim's start reads names every usual way to write the size", async () => {
  const dir = await mkdtemp(join(tmpdir(), "trine-class-"));
  try {
    const size = { cpus: 1, memoryBytes: 1024 * MIB };
    await writeClass(dir, size, { cpus: 2, memoryBytes: 512 * MIB });
    await writeClass(dir, size, { cpus: 2, memoryBytes: 512 * MIB });
    expect(JSON.parse(await readFile(join(dir, "class.json"), "utf8"))).toMatchObject({
      version: 1,
      ...size,
      defaultCpus: 2,
      leastMemoryBytes: 112 * MIB,
      besidesBelowBytes: 256 * MIB,
      annotations: {
        "trine.dev/cpus": ["1"],
        "trine.dev/memory": ["1073741824", "1048576Ki", "1024Mi", "1Gi"],
      },
    });
  } finally {
    await rm(dir, { recursive: true });
  }
});
