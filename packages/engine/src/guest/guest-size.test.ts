import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Bundle } from "../bundle.ts";
import { guestSize } from "./guest-size.ts";

const MIB = 1024 * 1024;
const UNSET = { cpus: undefined, memoryBytes: undefined };
const NODE = { defaultMemoryBytes: 512 * MIB, defaultCpus: 1, cgroups: [] };
const CPUS = availableParallelism();

function sandbox(resources: Record<string, string>, more: Partial<Bundle> = {}): Bundle {
  const prefixed = Object.entries(resources).map(([key, value]) => [
    `io.kubernetes.cri.sandbox-${key}`,
    value,
  ]);
  return {
    path: "/b",
    annotations: Object.fromEntries(prefixed) as Record<string, string>,
    hostname: undefined,
    resolvConf: undefined,
    memoryLimitBytes: 4 * MIB,
    oomScoreAdj: 0,
    isPodSandbox: true,
    spec: {},
    ...more,
  };
}

test.each([
  ["nothing said", {}, { cpus: 1, memoryBytes: 512 * MIB }],
  ["a memory limit", { memory: `${300 * MIB + 5}` }, { cpus: 1, memoryBytes: 300 * MIB }],
  ["a small limit, besides its kernel", { memory: `${16 * MIB}` }, { memoryBytes: 128 * MIB }],
  ["a limit that holds a kernel", { memory: `${200 * MIB}` }, { memoryBytes: 256 * MIB }],
  ["a limit beyond that", { memory: `${257 * MIB}` }, { memoryBytes: 257 * MIB }],
  ["no limits, as zeros", { memory: "0", "cpu-quota": "0" }, { memoryBytes: 512 * MIB, cpus: 1 }],
  ["half a CPU", { "cpu-quota": "50000", "cpu-period": "100000" }, { cpus: 1 }],
  [
    "one and a half",
    { "cpu-quota": "150000", "cpu-period": "100000" },
    { cpus: Math.min(2, CPUS) },
  ],
  ["more than there are", { "cpu-quota": "99000000" }, { cpus: CPUS }],
  ["a request", { "cpu-shares": "1500", "cpu-quota": "0" }, { cpus: Math.min(2, CPUS) }],
  ["no request", { "cpu-shares": "2" }, { cpus: 1 }],
  ["rubbish", { memory: "1e99", "cpu-quota": "x" }, { cpus: 1, memoryBytes: 512 * MIB }],
])("of a pod with %s", async (_, resources, wanted) => {
  expect(await guestSize(UNSET, sandbox(resources), NODE)).toMatchObject(wanted);
});

test("annotations go before limits", async () => {
  const given = { cpus: 7, memoryBytes: 256 * MIB };
  expect(await guestSize(given, sandbox({ memory: `${MIB}` }), NODE)).toEqual(given);
});

test("a container that is its own pod has its own limit", async () => {
  const alone = sandbox({}, { isPodSandbox: false, memoryLimitBytes: 300 * MIB });
  expect(await guestSize(UNSET, alone, NODE)).toMatchObject({ memoryBytes: 300 * MIB });
});

test("memory that does not fit the pod's limit is refused with the numbers", async () => {
  const dir = await mkdtemp(join(tmpdir(), "tgs-"));
  await mkdir(join(dir, "sandbox"));
  await writeFile(join(dir, "memory.max"), `${128 * MIB}`);
  const node = { ...NODE, cgroups: [join(dir, "sandbox")] };
  await expect(guestSize(UNSET, sandbox({ memory: `${64 * MIB}` }), node)).rejects.toThrow(
    /guest memory 176 MiB and .*96 MiB exceed the pod's limit of 128 MiB/,
  );
  await rm(dir, { recursive: true });
});
