// In-place resize: a container's limits change while it runs, and the size of its guest with them, however that came up.
import { messageOf, pollUntil } from "@trine/base";
import type { RunningPod, TrineNode } from "@trine/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startMicrovmNode } from "./microvm-node.ts";
import { MICROVM, PodOfTest, PodPair } from "./pod-pair.ts";

const MIB = 1n << 20n;
const READY_MS = 240_000;
const SPARE_MIB = 320n;
/** With this much a guest of the node boots. */
const SMALLEST_MIB = 256n;
const PERIOD = 100_000n;
/** What a container sees of its limits, in either version of control groups: memory, quota, period. */
const LIMITS = `cd /sys/fs/cgroup
cat memory.max memory/memory.limit_in_bytes 2>/dev/null
cat cpu.max 2>/dev/null || echo $(cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us)`;

let node: TrineNode;
/** Keeps no templates: its pods boot. */
let bootingNode: TrineNode;
let image: string;

beforeAll(async () => {
  const more = `  pool: [{ count: 1, memoryBytes: ${SPARE_MIB * MIB} }]`;
  ({ node, image } = await startMicrovmNode({ more }));
  ({ node: bootingNode } = await startMicrovmNode({ more: "  templates: { most: 0 }" }));
}, 1_800_000);

afterAll(async () => {
  for (const each of [node, bootingNode]) expect(await each.stop()).toEqual([]);
});

const limits = (mib: bigint, cpus: bigint): object => ({
  memoryLimitInBytes: mib * MIB,
  ...{ cpuQuota: cpus * PERIOD, cpuPeriod: PERIOD },
});

async function startOf(at: TrineNode, { podSandboxId }: PodOfTest): Promise<string | undefined> {
  const { items } = JSON.parse((await at.api("/v1/pods")).body) as {
    items: { sandboxId: string; machine?: { start?: { how: string } } }[];
  };
  return items.find((each) => each.sandboxId === podSandboxId)?.machine?.start?.how;
}

/** Until trined has what pods of this kind start from. */
function untilReady(kind: string): Promise<true> {
  const metric = {
    clone: /^trine_templates\{state="ready"\} 1$/m,
    spare: /^trine_spares\{[^}]*state="ready"[^}]*\} 1$/m,
  }[kind];
  return pollUntil(`a ${kind} is there`, { ms: READY_MS, everyMs: 100 }, async () =>
    metric === undefined || metric.test((await node.api("/metrics")).body) ? true : undefined,
  );
}

const update = (at: TrineNode, container: RunningPod, linux: object): Promise<string> =>
  at.containerd.cri.runtime
    .updateContainerResources({ containerId: container.containerId, linux })
    .then(() => "done", messageOf);

/** The guest's own count, in MiB and CPUs. What its kernel keeps for itself is missing in the former. */
async function guestHas(pod: PodOfTest, container: RunningPod): Promise<[number, number]> {
  const said = await pod.sh(container, "awk '/MemTotal/ { print $2 }' /proc/meminfo; nproc");
  const [kib = 0, cpus = 0] = said.trim().split("\n").map(Number);
  return [kib / 1024, cpus];
}

test.each([
  ["cold", 384n],
  ["clone", 384n],
  ["spare", SPARE_MIB],
])(
  "a guest that came up as a %s follows its container's limits up and down, also under the next trined",
  async (kind, mib) => {
    const at = kind === "cold" ? bootingNode : node;
    await untilReady(kind);
    const resources = limits(mib, 1n);
    const pair = await PodPair.start(at, image, { name: kind, config: { linux: { resources } } });
    expect(await startOf(at, pair.microvm)).toBe(kind);
    const containers = {
      runc: await pair.runc.run({ linux: { resources } }),
      microvm: await pair.microvm.run({ linux: { resources } }),
    };
    const see = async (): Promise<number[]> => {
      const [runc, microvm] = await Promise.all([
        pair.runc.sh(containers.runc, LIMITS),
        pair.microvm.sh(containers.microvm, LIMITS),
      ]);
      expect(microvm).toBe(runc);
      const [memory, cpus] = await guestHas(pair.microvm, containers.microvm);
      const wanted = Number(/^\d+/.exec(runc)?.[0]) / Number(MIB);
      expect(memory).toBeLessThanOrEqual(wanted);
      expect(memory).toBeGreaterThan(wanted - 64);
      return [wanted, cpus];
    };
    const both = async (linux: object): Promise<string[]> =>
      Promise.all(Object.values(containers).map((container) => update(at, container, linux)));
    expect(await see()).toEqual([Number(mib), 1]);
    expect(await both(limits(512n, 2n))).toEqual(["done", "done"]);
    expect(await see()).toEqual([512, 2]);
    if (kind === "clone") {
      await node.killTrined();
      await node.startTrined();
    }
    expect(await both(limits(300n, 1n))).toEqual(["done", "done"]);
    expect(await see()).toEqual([300, 1]);
    expect(await both(limits(300n, 2n))).toEqual(["done", "done"]);
    expect(await see()).toEqual([300, 2]);
    expect(await both(limits(300n, 1n))).toEqual(["done", "done"]);
    expect(await see()).toEqual([300, 1]);
    expect(await update(at, containers.microvm, limits(32_768n, 1n))).toContain(
      "make the pod anew",
    );
    expect(await see()).toEqual([300, 1]);
    // Memory that was plugged in holds nothing that cannot be moved away: all of it is given back.
    if (kind !== "spare") {
      expect(await update(at, containers.microvm, limits(SMALLEST_MIB, 1n))).toBe("done");
      const [memory] = await guestHas(pair.microvm, containers.microvm);
      expect(memory).toBeLessThanOrEqual(Number(SMALLEST_MIB));
    }
    await pair.remove();
  },
  600_000,
);

test("a small limit can be used whole: the guest has its kernel's memory besides", async () => {
  const linux = { resources: limits(64n, 1n) };
  const options = { handler: MICROVM, image, name: "small", config: { linux } };
  const pod = await PodOfTest.start(bootingNode, options);
  const container = await pod.run({ linux });
  const [memory] = await guestHas(pod, container);
  expect(memory).toBeLessThanOrEqual(176);
  const held = "dd if=/dev/zero of=/dev/shm/held bs=1M count=56 2>/dev/null; du -m /dev/shm/held";
  expect(await pod.sh(container, held)).toBe("56\t/dev/shm/held\n");
  await pod.remove();
}, 300_000);
