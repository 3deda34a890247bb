// A guest that floods its console: every line in containerd's log, once and in order, at which price.
import { createReadStream } from "node:fs";
import { copyFile, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { pollUntil } from "@trine/base";
import type { ByteChannel } from "@trine/vmm";
import { TrineNode, tinyGuestDisk, tinyGuestImage } from "@trine/testkit";
import type { RunningPod, TestImage } from "@trine/testkit";
import { startBareMachine } from "./bare-machine.ts";
import type { BareOptions } from "./bare-machine.ts";
import type { BenchResult, Figure } from "./figure.ts";
import { cpuSeconds } from "./host.ts";
import { PeerCgroup } from "./peer-cgroup.ts";
import { machineOf, machinePodOptions, summaryOf } from "./machine-pods.ts";
import { FloodCount } from "./flood-count.ts";

const FLOODS = [
  { console: "virtio", mib: 50 },
  { console: "serial", mib: 5 },
] as const;
const MEMORY_MIB = 128;
const BOOT_MS = 300_000;
const FLOOD_MS = 900_000;
/** What the shell says before its prompt, which ends no line and so is not in a log yet. */
const SHELL = "built-in shell (ash)";
/** The lines are made beforehand: awk under emulation is slower than the console. Quoted, so that its echo differs. */
const PREPARE = "stty -opost; flood 1 /run/lines; echo MA''DE";
const PREPARED = "MADE";
const TAIL_BYTES = 4096;

type Flood = (typeof FLOODS)[number];

interface Taken {
  readonly count: FloodCount;
  readonly seconds: number;
}

interface PodTaken extends Taken {
  readonly daemonCpu: number;
  readonly shimCpu: number;
  /** Where the peer is put. */
  readonly cgroup: PeerCgroup;
}

export async function run(): Promise<BenchResult> {
  const image = await tinyGuestImage();
  const node = await TrineNode.start({ version: "1.6" });
  const scratch = await mkdtemp(join(tmpdir(), "trine-bench-console-"));
  try {
    await node.containerd.importImage(image);
    const figures: Figure[] = [];
    const samples: Record<string, readonly number[]> = {};
    for (const flood of FLOODS) {
      const seed = join(scratch, `${flood.console}.iso`);
      const pod = await floodPod(node, image, flood, seed);
      const bare = await floodBare(flood, {
        image: await tinyGuestDisk(),
        seed,
        memoryBytes: MEMORY_MIB * 2 ** 20,
        console: flood.console,
        cgroup: pod.cgroup,
      });
      await pod.cgroup.remove();
      figures.push(...floodFigures(flood, pod, bare));
      samples[`${flood.console}-seconds-pod-bare`] = [pod.seconds, bare.seconds];
      samples[`${flood.console}-cpu-daemon-shim`] = [pod.daemonCpu, pod.shimCpu];
    }
    return { figures, samples, notes: NOTES };
  } finally {
    await node.stop();
    await rm(scratch, { recursive: true });
  }
}

const NOTES = [
  "From the command typed on the console to the last line in containerd's log file; bare: the same QEMU " +
    "arguments, its console read by this program. QEMU never makes a guest wait for a virtio console: what " +
    "its socket has no room for, it drops.",
];

async function floodPod(
  node: TrineNode,
  image: TestImage,
  flood: Flood,
  seed: string,
): Promise<PodTaken> {
  const { containerd } = node;
  const pod = await node.run({
    ...machinePodOptions(`flood-${flood.console}`, image, MEMORY_MIB, {
      "trine.dev/console": flood.console,
    }),
    tty: true,
    stdin: true,
  });
  const { pid, consoleLog } = await machineOf(node, pod);
  const cgroup = await PeerCgroup.beside(pid);
  const directory = basename(join(consoleLog, ".."));
  await copyFile(join(node.stateDir, "pods", directory, "seed.iso"), seed);
  await node.untilOutput(pod, SHELL, BOOT_MS);
  const session = await containerd.cri.attach({
    containerId: pod.containerId,
    tty: true,
    stdin: true,
  });
  session.stdin?.write(`${PREPARE}\n`);
  await node.untilOutput(pod, PREPARED, BOOT_MS);
  const { shim } = await summaryOf(node, pod);
  const pids = [node.trinedPid ?? 0, shim.pid];
  const before = await Promise.all(pids.map(cpuSeconds));
  const started = performance.now();
  session.stdin?.write(command(flood));
  const count = new FloodCount(flood.mib);
  await untilEnd(pod);
  const seconds = (performance.now() - started) / 1000;
  const after = await Promise.all(pids.map(cpuSeconds));
  session.close();
  await countLog(pod, count);
  await node.remove(pod);
  const [daemonCpu = Number.NaN, shimCpu = Number.NaN] = after.map(
    (each, at) => each - (before[at] ?? Number.NaN),
  );
  return { count, seconds, daemonCpu, shimCpu, cgroup };
}

/** As many passes over the lines as MiB, each after a line that says its number; quoted as PREPARE. */
function command({ mib }: Flood): string {
  const pass = "echo PA''SS $p; cat /run/lines";
  return `p=0; while [ $p -lt ${mib} ]; do ${pass}; p=$((p+1)); done; echo PA''SS end\n`;
}

/** Looks at the log's end only: reading all of it again and again would take the guest's CPU. */
async function untilEnd(pod: RunningPod): Promise<void> {
  await pollUntil("the flood's end", { ms: FLOOD_MS, everyMs: 100 }, async () => {
    await using log = await open(pod.log);
    const { size } = await log.stat();
    const tail = Buffer.alloc(Math.min(size, TAIL_BYTES));
    await log.read(tail, 0, tail.length, size - tail.length);
    return tail.includes("PASS end") ? true : undefined;
  });
}

async function countLog(pod: RunningPod, count: FloodCount): Promise<void> {
  for await (const line of createInterface({ input: createReadStream(pod.log) })) count.line(line);
}

async function floodBare(flood: Flood, options: BareOptions): Promise<Taken> {
  await using bare = await startBareMachine(options);
  const console = bare.host.channel("console");
  await bare.host.said(SHELL, BOOT_MS);
  const type = (text: string): Promise<void> => console.write(new TextEncoder().encode(text));
  await type(`${PREPARE}\n`);
  await bare.host.said(PREPARED, BOOT_MS);
  const started = performance.now();
  await type(command(flood));
  const count = new FloodCount(flood.mib);
  await readFlood(console, count);
  return { count, seconds: (performance.now() - started) / 1000 };
}

async function readFlood(console: ByteChannel, count: FloodCount): Promise<void> {
  const signal = AbortSignal.timeout(FLOOD_MS);
  let rest = "";
  while (!count.complete) {
    const bytes = await console.read(signal);
    if (bytes === undefined) throw new Error("bare QEMU ended in the middle of its flood");
    const lines = (rest + Buffer.from(bytes).toString("latin1")).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) count.line(line);
  }
}

function floodFigures(flood: Flood, pod: PodTaken, bare: Taken): Figure[] {
  const name = `vm-console.${flood.console}`;
  const none = { target: { atMost: 0 } };
  return [
    { name: `${name}.lines-missing`, value: pod.count.missing, unit: "lines", ...none },
    { name: `${name}.lines-twice`, value: pod.count.twice, unit: "lines", ...none },
    { name: `${name}.lines-out-of-order`, value: pod.count.outOfOrder, unit: "lines", ...none },
    { name: `${name}.bare-lines-missing`, value: bare.count.missing, unit: "lines" },
    { name: `${name}.rate-pod`, value: flood.mib / pod.seconds, unit: "MiB/s" },
    { name: `${name}.rate-bare`, value: flood.mib / bare.seconds, unit: "MiB/s" },
    { name: `${name}.daemon-cpu`, value: pod.daemonCpu, unit: `s for ${flood.mib} MiB` },
    { name: `${name}.shim-cpu`, value: pod.shimCpu, unit: `s for ${flood.mib} MiB` },
  ];
}
