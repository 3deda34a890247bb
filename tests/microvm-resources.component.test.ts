// Limits, their changes, figures and pause: what containerd and kubelet do with a container that runs.
import { readFile } from "node:fs/promises";
import { messageOf, pollUntil } from "@trine/base";
import type { ContainerStats } from "@trine/proto/cri/api";
import type { RunningPod, TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";
import { PodPair } from "./pod-pair.ts";

const MIB = 1n << 20n;

let node: TrineNode;
let pair: PodPair;

beforeAll(async () => {
  const started = await startMicrovmNode();
  node = started.node;
  pair = await PodPair.start(node, started.image, { name: "resources" });
}, 1_800_000);

afterAll(async () => {
  await pair.remove();
  expect(await node.stop()).toEqual([]);
});

const runtime = (): TrineNode["containerd"]["cri"]["runtime"] => node.containerd.cri.runtime;

test("limits go up and down while it runs, as far as its guest can follow", async () => {
  const pod = pair.microvm;
  const container = await pod.run({ linux: { resources: { memoryLimitInBytes: 64n * MIB } } });
  const { containerId } = container;
  const files = "cd /sys/fs/cgroup; cat memory.max cpu.max cpu.weight";
  const update = (linux: object): Promise<string> =>
    runtime()
      .updateContainerResources({ containerId, linux })
      .then(() => "done", messageOf);
  expect(await pod.sh(container, files)).toBe("67108864\nmax 100000\n100\n");
  const more = { memoryLimitInBytes: 128n * MIB, cpuQuota: 50_000n, cpuPeriod: 100_000n };
  expect(await update({ ...more, cpuShares: 512n })).toBe("done");
  expect(await pod.sh(container, files)).toBe("134217728\n50000 100000\n20\n");
  expect(await update({ memoryLimitInBytes: 32n * MIB, cpuQuota: -1n })).toBe("done");
  expect(await pod.sh(container, files)).toMatch(/^33554432\nmax /);

  expect(await update({ memoryLimitInBytes: 65_536n * MIB })).toContain("make the pod anew");
  expect(await update({ cpuQuota: 25_600_000n, cpuPeriod: 100_000n })).toContain(
    "the pod's guest would need 256 CPUs for these limits",
  );
  // Nothing is killed to make a limit fit, which the kernel would do.
  await pod.sh(container, "dd if=/dev/zero of=/dev/shm/held bs=1M count=20 2>/dev/null");
  expect(await update({ memoryLimitInBytes: 8n * MIB })).toContain("unable to set memory limit");
  expect(await pod.sh(container, files)).toMatch(/^33554432\n/);
  await pod.sh(container, "rm /dev/shm/held");
}, 180_000);

test("a limit that was lowered holds", async () => {
  const seen = await pair.compare({}, async (container, pod) => {
    const linux = { memoryLimitInBytes: 20n * MIB };
    await runtime().updateContainerResources({ containerId: container.containerId, linux });
    return pod.sh(container, "dd if=/dev/zero of=/dev/null bs=60M count=1 2>&1");
  });
  expect(seen.microvm).toContain("(status 137)");
  expect(seen.runc).toContain("(status 137)");
}, 120_000);

test("figures have the fields they have under runc, and say what the container uses", async () => {
  const shape = (value: unknown): unknown =>
    typeof value === "object" && value !== null
      ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, shape(item)]))
      : typeof value;
  const read = async ({ containerId }: RunningPod): Promise<ContainerStats | undefined> =>
    (await runtime().containerStats({ containerId })).stats;
  const linux = { resources: { memoryLimitInBytes: 100n * MIB } };
  const seen = await pair.compare({ linux }, async (container, pod) => {
    await pod.sh(container, "head -c 30000000 /dev/zero >/dev/shm/held");
    const stats = await pollUntil("the figures follow", { ms: 60_000, everyMs: 500 }, async () => {
      const now = await read(container);
      return (now?.memory?.usageBytes?.value ?? 0n) > 30_000_000n ? now : undefined;
    });
    await pod.sh(container, "rm /dev/shm/held");
    expect(stats.memory?.usageBytes?.value).toBeLessThan(100n * MIB);
    expect(stats.cpu?.usageCoreNanoSeconds?.value).toBeGreaterThan(0n);
    return JSON.stringify(shape({ cpu: stats.cpu, memory: stats.memory }));
  });
  expect(seen.microvm).toBe(seen.runc);
}, 120_000);

test("pause stops everything in it, exec says so at once, resume goes on where it was", async () => {
  const pod = pair.microvm;
  const container = await pod.run({
    command: ["/bin/sh", "-c", "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.1; done"],
  });
  const { containerId } = container;
  const ctr = (...words: string[]): Promise<string> => node.containerd.ctr("task", ...words);
  const state = async (): Promise<string> =>
    (await ctr("ls")).split("\n").find((line) => line.includes(containerId)) ?? "";
  await node.untilOutput(container, "line 3\n");
  await ctr("pause", containerId);
  expect(await state()).toContain("PAUSED");
  const before = await node.output(container);
  await expect(pod.sh(container, "echo not now")).rejects.toThrow("it is paused");
  expect(await node.output(container)).toBe(before);
  await ctr("resume", containerId);
  expect(await state()).toContain("RUNNING");
  const lines = (await node.untilOutput(container, /line 30\n/)).trim().split("\n");
  expect(lines).toEqual(lines.map((_, index) => `line ${index}`));
}, 120_000);

test("a process begins with the node's limits, also one of an exec", async () => {
  const seen = await pair.script({}, "ulimit -a; ulimit -Hn");
  expect(seen.microvm).toBe(seen.runc);
  const own = /Max open files +(\d+)/.exec(await readFile("/proc/self/limits", "utf8"))?.[1];
  expect(seen.runc).toContain(`(-n) ${own}\n`);
}, 120_000);
