import { describe, expect, test } from "vitest";
import { changedLimits, requireReach, sizeAfter } from "./container-limits.ts";
import type { LimitsChange } from "./container-limits.ts";
import type { ContainerLimits } from "./pod-document.ts";

const MIB = 1024 * 1024;
const LEAST = { cpus: 1, memoryBytes: 96 * MIB };

const read = (resources: object, before: ContainerLimits = {}): object =>
  changedLimits(Buffer.from(JSON.stringify(resources)), before);
const limit = (mib?: number): { memoryBytes?: number } =>
  mib === undefined ? {} : { memoryBytes: mib * MIB };

test.each([
  [{}, {}],
  [{ memory: { limit: -1 }, cpu: { quota: -1, period: 100_000 } }, {}],
  [
    { memory: { limit: 5 }, cpu: { quota: 200_000 } },
    { memoryBytes: 5, cpus: 2 },
  ],
  [
    { memory: { limit: "5" }, cpu: { quota: 20_000, period: 50_000 } },
    { cpus: 0.4, periodUs: 50_000 },
  ],
  [{ cpu: { shares: 262_144 } }, {}],
])("limits are read of OCI resources: %j", (resources, limits) => {
  expect(read(resources)).toEqual(limits);
});

test.each<[object, ContainerLimits]>([
  [{}, { memoryBytes: 512, cpus: 0.3 }],
  [
    { memory: { limit: 0 }, cpu: { quota: 0, period: 0 } },
    { memoryBytes: 512, cpus: 0.3 },
  ],
  [{ cpu: { quota: 150_000, period: 100_000 } }, { memoryBytes: 512, cpus: 1.5 }],
  [{ memory: { limit: 256 } }, { memoryBytes: 256, cpus: 0.3 }],
  [{ memory: { limit: -1 } }, { cpus: 0.3 }],
  [{ cpu: { quota: -1 } }, { memoryBytes: 512 }],
  [{ cpu: { period: 50_000 } }, { memoryBytes: 512, cpus: 0.6, periodUs: 50_000 }],
])("a change leaves what it does not name: %j", (resources, limits) => {
  expect(read(resources, { memoryBytes: 512, cpus: 0.3 })).toEqual(limits);
});

test("a quota that changes alone is one of its period", () => {
  const before = { cpus: 0.4, periodUs: 50_000 };
  expect(read({ cpu: { quota: 100_000 } }, before)).toEqual({ cpus: 2, periodUs: 50_000 });
});

test("resources that are no JSON are refused", () => {
  expect(() => changedLimits(Buffer.from("{"), {})).toThrow("not JSON");
});

describe("the memory of a guest of 512 MiB", () => {
  const after = (change: Partial<LimitsChange>, least = LEAST): number => {
    const size = { cpus: 1, memoryBytes: 512 * MIB };
    const all = { before: {}, after: {}, others: [], ...change };
    return sizeAfter(size, least, all).memoryBytes / MIB;
  };

  test.each<[string, number, Partial<LimitsChange>]>([
    ["grows with the only container", 768, { before: limit(512), after: limit(768) }],
    [
      "grows by what is raised",
      612,
      { before: limit(300), after: limit(400), others: [limit(300)] },
    ],
    ["stays where all fit", 512, { before: limit(100), after: limit(300), others: [limit(200)] }],
    [
      "grows only as far as all need it",
      600,
      { before: limit(100), after: limit(400), others: [limit(200)] },
    ],
    ["follows a first limit beyond it", 600, { after: limit(600) }],
    [
      "stays at a first limit within it that others share it with",
      512,
      { after: limit(300), others: [{}] },
    ],
    [
      "becomes smaller with its limits",
      300,
      { before: limit(312), after: limit(100), others: [limit(200)] },
    ],
    [
      "stays where another is not limited",
      512,
      { before: limit(512), after: limit(256), others: [{}] },
    ],
    ["stays with a limit that stays", 512, { before: limit(100), after: limit(100) }],
    ["stays when a limit is taken away", 512, { before: limit(512), after: {} }],
    ["is never smaller than the least", 96, { before: limit(512), after: limit(10) }],
  ])("%s: %d", (_, mib, change) => {
    expect(after(change)).toBe(mib);
  });

  test("keeps what an annotation or the node gives it", () => {
    const change = { before: limit(300), after: limit(200) };
    expect(after(change, { cpus: 1, memoryBytes: 512 * MIB })).toBe(512);
  });
});

test("CPUs are whole, and hold the sum of the quotas", () => {
  const size = { cpus: 2, memoryBytes: MIB };
  const cpus = (before: number, now: number, other: number): number =>
    sizeAfter(size, LEAST, {
      before: { cpus: before },
      after: { cpus: now },
      others: [{ cpus: other, memoryBytes: MIB }],
    }).cpus;
  expect(cpus(0.5, 1.5, 1)).toBe(3);
  expect(cpus(0.5, 0.9, 1)).toBe(2);
  expect(cpus(1.5, 0.3, 0.5)).toBe(1);
});

test("a size that the machine cannot have is refused with what it can have", () => {
  const size = { cpus: 1, memoryBytes: 256 * MIB };
  const machine = { ...size, memoryMaxBytes: 1024 * MIB };
  const to = (change: object) => () => {
    requireReach({ ...size, ...change }, size, machine);
  };
  expect(to({})).not.toThrow();
  expect(to({ memoryBytes: 1024 * MIB })).not.toThrow();
  expect(to({ memoryBytes: 1025 * MIB })).toThrow(
    "would need 1025 MiB for these limits; it has 256 MiB and can have 1024 MiB at most",
  );
  expect(to({ memoryBytes: 255 * MIB })).not.toThrow();
  expect(to({ cpus: 2 })).toThrow("would need 2 CPUs for these limits; it has 1 CPUs");
});
