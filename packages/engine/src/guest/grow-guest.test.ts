import { availableParallelism } from "node:os";
import { machineSpec } from "@trine/vmm/testing";
import { expect, test } from "vitest";
import { growingMachine, hasGrown, wholeMachine } from "./grow-guest.ts";

const MIB = 1024 * 1024;
const BASES = [128, 256].map((mib) => ({ cpus: 1, memoryBytes: mib * MIB }));
const boot = { kind: "direct", kernel: "/k", initrd: "/i", cmdline: "quiet" } as const;

function wanted(mib: number, cpus = 1): ReturnType<typeof machineSpec> {
  return machineSpec({ boot, memoryBytes: mib * MIB, cpus });
}

test("machines of all sizes from a base on are one machine, which can grow", () => {
  const [first, ...others] = [256, 300, 4096].map((mib) => growingMachine(wanted(mib), BASES));
  for (const other of others) expect(other).toEqual(first);
  expect(first).toMatchObject({ memoryBytes: 256 * MIB, cpus: 1 });
  expect(first?.memoryMaxBytes).toBeGreaterThan(8192 * MIB);
  expect(first?.boot).toMatchObject({ cmdline: "quiet swiotlb=noforce" });
  expect(growingMachine(wanted(200), BASES).memoryBytes).toBe(128 * MIB);
});

test("one that no base holds begins with its own size, and can grow", () => {
  const small = wanted(96);
  const large = wanted(64 * 1024);
  const wide = wanted(256, availableParallelism() + 1);
  for (const spec of [small, large, wide]) {
    const { cpus, memoryBytes, memoryMaxBytes } = growingMachine(spec, BASES);
    expect({ cpus, memoryBytes }).toEqual({ cpus: spec.cpus, memoryBytes: spec.memoryBytes });
    expect(memoryMaxBytes).toBeGreaterThan(spec.memoryBytes);
  }
  expect(growingMachine(machineSpec(), BASES)).toEqual(machineSpec()); // it boots as it likes
});

test.each([
  ["tcg", 1, 3, 1],
  ["tcg", 2, 3, 3],
  ["tcg", 2, 2, 2],
  ["kvm", 2, 3, 2],
] as const)(
  "%s: from a base of %i CPUs one of %i begins with %i",
  (accelerator, base, cpus, begins) => {
    const bases = [{ cpus: base, memoryBytes: 128 * MIB }];
    const spec = { ...wanted(256, cpus), accelerator };
    expect(growingMachine(spec, bases, 4)).toMatchObject({ cpus: begins, maxCpus: 4 });
  },
);

test("what a machine has beyond its own is told in whole steps of memory, and in CPUs", () => {
  const spec = wanted(256);
  const grown = [257, 258].map((mib) => hasGrown(spec, { cpus: 1, memoryBytes: mib * MIB }));
  expect(grown).toEqual([false, true]);
  expect(hasGrown(spec, { cpus: 2, memoryBytes: 256 * MIB })).toBe(true);
});

test("a machine that boots because it could not grow has its whole size from the start", () => {
  const size = { cpus: 2, memoryBytes: 512 * MIB };
  const template = {
    key: "k",
    memoryPath: "/m",
    memoryInode: "1",
    statePath: "/s",
    stateSha256: "0",
  };
  const clone = { ...growingMachine(wanted(512, 2), BASES), origin: { template } };
  const booting = wholeMachine(clone, size);
  expect(booting).toMatchObject(size);
  for (const name of ["origin", "memoryMaxBytes", "maxCpus"])
    expect(booting).not.toHaveProperty(name);
});
