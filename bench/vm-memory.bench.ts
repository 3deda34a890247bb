// What a pod that is only a machine costs beyond its VMM, and twenty of them started at once.
import { pollUntil } from "@trine/base";
import { ContainerState } from "@trine/proto/cri/api";
import { TrineNode, tinyGuestImage } from "@trine/testkit";
import type { RunningPod, TestImage } from "@trine/testkit";
import { percentile } from "./figure.ts";
import type { BenchResult, Figure } from "./figure.ts";
import { childrenOf, pssBytes, rssBytes } from "./host.ts";
import { machinePodOptions, summaryOf } from "./machine-pods.ts";

const MACHINES = 20;
const MEMORY_MIB = 112;
const BOOT_MS = 600_000;
/** The daemon's collector has settled: timers of its start have run, nothing is asked of it. */
const SETTLED_MS = 120_000;
const MIB = 2 ** 20;
const TARGETS = { overheadMiB: 3, idleMiB: 90, loopP99Ms: 50 };
const LOOP_P99 = /^trined_nodejs_eventloop_lag_p99_seconds (\S+)$/m;

interface Started {
  readonly pod: RunningPod;
  readonly ms: number;
}

export async function run(): Promise<BenchResult> {
  const image = await tinyGuestImage();
  const node = await TrineNode.start({ version: "1.6" });
  try {
    await node.containerd.importImage(image);
    const idle = await rssBytes(daemonPid(node));
    await loopDelayP99Ms(node); // what went before is not counted
    const started = await Promise.all(
      Array.from({ length: MACHINES }, (_, index) => start(node, image, index)),
    );
    const pods = started.map(({ pod }) => pod);
    await allRunning(node, pods);
    const loopP99Ms = await loopDelayP99Ms(node);
    await Promise.all(pods.map((pod) => node.untilOutput(pod, "TINY-GUEST READY", BOOT_MS)));
    const held = await steadyRss(daemonPid(node));
    const processes = await Promise.all(pods.map((pod) => podProcesses(node, pod)));
    return report({ idle, held, loopP99Ms, startMs: started.map(({ ms }) => ms), processes });
  } finally {
    await node.stop();
  }
}

async function start(node: TrineNode, image: TestImage, index: number): Promise<Started> {
  const started = performance.now();
  const pod = await node.run(machinePodOptions(`machine-${index}`, image, MEMORY_MIB));
  return { pod, ms: performance.now() - started };
}

async function allRunning(node: TrineNode, pods: readonly RunningPod[]): Promise<void> {
  const { containers } = await node.containerd.cri.runtime.listContainers({
    filter: { state: { state: ContainerState.CONTAINER_RUNNING } },
  });
  const running = new Set(containers.map(({ id }) => id));
  const dead = pods.filter(({ containerId }) => !running.has(containerId));
  if (dead.length > 0) throw new Error(`${dead.length} of ${pods.length} machines do not run`);
}

/** Since the last time it was asked; the sampling interval of 10 ms is part of it. */
async function loopDelayP99Ms(node: TrineNode): Promise<number> {
  const { body } = await node.api("/metrics");
  return Number(LOOP_P99.exec(body)?.[1] ?? Number.NaN) * 1000;
}

/** The lowest of some readings: what is held when nothing is going on. */
async function steadyRss(pid: number): Promise<number> {
  const readings: number[] = [];
  await pollUntil("steady memory", { ms: SETTLED_MS, everyMs: 1000 }, async () => {
    readings.push(await rssBytes(pid));
    return readings.length >= 20 ? true : undefined;
  });
  return Math.min(...readings);
}

interface PodProcesses {
  readonly shim: number;
  readonly children: readonly { readonly name: string; readonly bytes: number }[];
}

async function podProcesses(node: TrineNode, pod: RunningPod): Promise<PodProcesses> {
  const { shim } = await summaryOf(node, pod);
  const children = await childrenOf(shim.pid);
  return {
    shim: await pssBytes(shim.pid),
    children: await Promise.all(
      children.map(async ({ pid, name }) => ({ name, bytes: await pssBytes(pid) })),
    ),
  };
}

interface Measured {
  readonly idle: number;
  readonly held: number;
  readonly loopP99Ms: number;
  readonly startMs: readonly number[];
  readonly processes: readonly PodProcesses[];
}

function report(of: Measured): BenchResult {
  const growth = (of.held - of.idle) / MACHINES;
  const shims = of.processes.map(({ shim }) => shim);
  const children = childrenByName(of.processes);
  const figures: Figure[] = [
    {
      name: "vm-memory.overhead-per-machine",
      value: (mean(shims) + growth) / MIB,
      unit: "MiB",
      target: { atMost: TARGETS.overheadMiB },
    },
    { name: "vm-memory.shim-pss", value: mean(shims) / MIB, unit: "MiB" },
    { name: "vm-memory.daemon-growth", value: growth / MIB, unit: "MiB a machine" },
    ...[...children].map(([name, sizes]) => ({
      name: `vm-memory.child.${name}`,
      value: mean(sizes) / MIB,
      unit: `MiB PSS, ${sizes.length} of ${of.processes.length} pods`,
    })),
    {
      name: "vm-memory.daemon-idle-rss",
      value: of.idle / MIB,
      unit: "MiB",
      target: { atMost: TARGETS.idleMiB },
    },
    { name: "vm-memory.at-once-start-p50", value: percentile(of.startMs, 0.5), unit: "ms" },
    { name: "vm-memory.at-once-start-p95", value: percentile(of.startMs, 0.95), unit: "ms" },
    {
      name: "vm-memory.event-loop-delay-p99",
      value: of.loopP99Ms,
      unit: "ms",
      target: { atMost: TARGETS.loopP99Ms },
    },
  ];
  const samples = {
    "start-ms": of.startMs,
    "shim-pss-bytes": shims,
    ...Object.fromEntries([...children].map(([name, sizes]) => [`${name}-pss-bytes`, sizes])),
  };
  const notes = [
    `${MACHINES} machines of ${MEMORY_MIB} MiB started at once, all Running; start: RunPodSandbox to ` +
      "StartContainer's answer. Overhead: a shim's PSS and the daemon's growth, once the guests are up. " +
      "The event loop's delay holds its sampling interval of 10 ms.",
  ];
  return { figures, samples, notes };
}

function childrenByName(processes: readonly PodProcesses[]): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (const { name, bytes } of processes.flatMap((pod) => pod.children)) {
    found.set(name, [...(found.get(name) ?? []), bytes]);
  }
  return found;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function daemonPid(node: TrineNode): number {
  if (node.trinedPid === undefined) throw new Error("trined does not run");
  return node.trinedPid;
}
