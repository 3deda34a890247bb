import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseMachineAnnotations } from "@trine/annotations";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Bundle } from "./bundle.ts";
import { MACHINE_OVERHEAD_BYTES, guestMemory } from "./guest-memory.ts";
import { GUEST_LIMITS } from "./guest/guest-size.ts";

const MIB = 1024 * 1024;

let pod: string;
beforeEach(async () => {
  pod = await mkdtemp(join(tmpdir(), "te-"));
  await mkdir(join(pod, "sandbox"));
});
afterEach(() => rm(pod, { recursive: true }));

function bundle(memoryLimitBytes?: number, annotations: Bundle["annotations"] = {}): Bundle {
  return {
    path: "/b",
    annotations,
    hostname: undefined,
    resolvConf: undefined,
    memoryLimitBytes,
    oomScoreAdj: 0,
    isPodSandbox: false,
    spec: {},
  };
}

const memoryOf = (annotations: Record<string, string>, limit?: number): Promise<number> =>
  guestMemory(parseMachineAnnotations(annotations), bundle(limit, annotations), {
    defaultBytes: 512 * MIB,
    cgroups: [join(pod, "sandbox")],
  });

test("the annotation goes before the limit, the limit before the node's default", async () => {
  expect(await memoryOf({ "trine.dev/memory": "100Mi" }, 200 * MIB)).toBe(100 * MIB);
  expect(await memoryOf({}, 200 * MIB)).toBe(200 * MIB);
  expect(await memoryOf({})).toBe(512 * MIB);
});

test.each(["memory.limit_in_bytes", "memory.max"])(
  "refuses what cannot fit the pod's %s, with the numbers",
  async (file) => {
    await writeFile(join(pod, file), String(200 * MIB));
    await expect(memoryOf({ "trine.dev/memory": "128Mi" })).rejects.toThrow(
      /128 MiB.*96 MiB exceed the pod's limit of 200 MiB/,
    );
    expect(await memoryOf({ "trine.dev/memory": "104Mi" })).toBe(104 * MIB);
  },
);

test("Virtlet's manifests have no overhead in their limit: the guest has the rest", async () => {
  const virtlets = { "kubernetes.io/target-runtime": "virtlet.cloud" };
  await writeFile(join(pod, "memory.max"), String(160 * MIB));
  expect(await memoryOf(virtlets, 160 * MIB)).toBe(64 * MIB);
  await expect(memoryOf({}, 160 * MIB)).rejects.toThrow(/160 MiB.*96 MiB exceed/);
  // What is asked for by name is had or refused.
  const named = { ...virtlets, "trine.dev/memory": "128Mi" };
  await expect(memoryOf(named, 160 * MIB)).rejects.toThrow(/128 MiB.*96 MiB exceed/);
  await writeFile(join(pod, "memory.max"), String(120 * MIB));
  await expect(memoryOf(virtlets, 120 * MIB)).rejects.toThrow(/120 MiB.*96 MiB exceed/);
  await writeFile(join(pod, "memory.max"), String(512 * MIB));
  expect(await memoryOf(virtlets, 160 * MIB)).toBe(160 * MIB);
});

test.each(["max\n", "9223372036854771712\n"])("takes %j for no limit", async (text) => {
  await writeFile(join(pod, "memory.max"), text);
  expect(await memoryOf({ "trine.dev/memory": "64Gi" })).toBe(65_536 * MIB);
});

test("the RuntimeClasses charge what the engine counts with", async () => {
  const file = join(import.meta.dirname, "../../../deploy/overhead.json");
  const text = await readFile(file, "utf8");
  const overhead = JSON.parse(text) as Record<string, { memoryBytes: number }>;
  expect(overhead["trine-vm"]?.memoryBytes).toBe(MACHINE_OVERHEAD_BYTES);
  // So that a pod has room for its guest however small its limits are.
  const least = MACHINE_OVERHEAD_BYTES + GUEST_LIMITS.leastMemoryBytes;
  expect(overhead["trine-microvm"]?.memoryBytes).toBe(least);
});
