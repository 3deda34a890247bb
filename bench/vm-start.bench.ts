// From RunPodSandbox to the guest's first console byte, beside the same QEMU command line run straight.
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { TrineError } from "@trine/base";
import {
  TrineNode,
  debianGuestDisk,
  debianGuestImage,
  tinyGuestDisk,
  tinyGuestImage,
} from "@trine/testkit";
import type { RunningPod, TestImage } from "@trine/testkit";
import { bareFirstByteMs, startBareMachine } from "./bare-machine.ts";
import type { BareOptions } from "./bare-machine.ts";
import { median, percentile } from "./figure.ts";
import type { BenchResult, Figure } from "./figure.ts";
import { commandLine, firstByteOf, namesIn, newDirectory } from "./host.ts";
import { PeerCgroup } from "./peer-cgroup.ts";
import { launchTimes, machineOf, machinePodOptions } from "./machine-pods.ts";

const ROUNDS = 20;
const BOOT_MS = 180_000;
const TARGET_RATIO = 1.1;
const TARGET_LAUNCH_MS = 60;

interface Guest {
  readonly name: string;
  readonly memoryMiB: number;
  readonly image: () => Promise<TestImage>;
  readonly disk: () => Promise<string>;
}

const GUESTS: readonly Guest[] = [
  { name: "tiny", memoryMiB: 128, image: tinyGuestImage, disk: tinyGuestDisk },
  { name: "debian", memoryMiB: 512, image: debianGuestImage, disk: debianGuestDisk },
];

/** Milliseconds, one of each a round. */
interface Samples {
  readonly pod: number[];
  readonly bare: number[];
  readonly sandbox: number[];
}

export async function run(): Promise<BenchResult> {
  const images = await Promise.all(GUESTS.map((guest) => guest.image()));
  const node = await TrineNode.start({ version: "1.6" });
  const scratch = await mkdtemp(join(tmpdir(), "trine-bench-start-"));
  try {
    const figures: Figure[] = [];
    const samples: Record<string, readonly number[]> = {};
    for (const [index, guest] of GUESTS.entries()) {
      const image = images[index] as TestImage;
      await node.containerd.importImage(image);
      const taken = await compare(node, guest, image, join(scratch, `${guest.name}.iso`));
      figures.push(...guestFigures(guest.name, taken));
      for (const [series, values] of Object.entries(taken)) {
        samples[`${guest.name}-${series}-ms`] = values as number[];
      }
    }
    const launches = await launchTimes(node);
    figures.push(...launchFigures(launches));
    return { figures, samples: { ...samples, "launch-ms": launches }, notes: NOTES };
  } finally {
    await node.stop();
    await rm(scratch, { recursive: true });
  }
}

const NOTES = [
  "pod: RunPodSandbox to the first byte of the console; bare: the same QEMU arguments and disks started " +
    "straight in the pods' cgroup, to the first byte; sandbox: containerd's own RunPodSandbox + CreateContainer with runc, " +
    `same CNI; in turns, ${ROUNDS} rounds. Beyond = (pod - sandbox) / bare of each round, their median.`,
  "bare is started through unshare and perl, which open its tap: some 10 ms in its disfavour.",
];

async function compare(
  node: TrineNode,
  guest: Guest,
  image: TestImage,
  seed: string,
): Promise<Samples> {
  const bare = await prepare(node, guest, image, seed);
  const samples: Samples = { pod: [], bare: [], sandbox: [] };
  const turns = [
    async () => samples.sandbox.push(await runcSandboxMs(node, image)),
    async () => samples.pod.push(await podFirstByteMs(node, guest, image)),
    async () => samples.bare.push(await bareMs(bare)),
  ];
  for (let round = 0; round < ROUNDS; round++) {
    // Each starts as often first as last: a busy spell of the host meets all of them.
    for (const turn of round % 2 === 0 ? turns : turns.toReversed()) await turn();
  }
  await bare.cgroup.remove();
  return samples;
}

/** One pod to warm the caches and to take the seed from; makes sure the peer's arguments are the pod's. */
async function prepare(
  node: TrineNode,
  guest: Guest,
  image: TestImage,
  seed: string,
): Promise<BareOptions> {
  const pod = await node.run(machinePodOptions(guest.name, image, guest.memoryMiB));
  const { pid, consoleLog } = await machineOf(node, pod);
  const directory = basename(join(consoleLog, ".."));
  await copyFile(join(node.stateDir, "pods", directory, "seed.iso"), seed);
  const options: BareOptions = {
    image: await guest.disk(),
    seed,
    memoryBytes: guest.memoryMiB * 2 ** 20,
    console: "serial",
    cgroup: await PeerCgroup.beside(pid),
  };
  await using bare = await startBareMachine(options);
  await bareFirstByteMs(bare, BOOT_MS);
  const [ours, peer] = await Promise.all([commandLine(pid), commandLine(bare.pid)]);
  const [ourWords, peerWords] = [comparable(ours), comparable(peer)];
  const differing = ourWords.filter((word, at) => word !== peerWords[at]);
  if (differing.length > 0 || ourWords.length !== peerWords.length) {
    throw new TrineError(
      "internal",
      `the peer is another machine; only the pod's has ${differing.join(" ")} (is dist/ up to date?)`,
    );
  }
  await node.remove(pod);
  return options;
}

/** Arguments without what no two machines have in common. */
function comparable(argv: readonly string[]): string[] {
  const uuidAt = argv.indexOf("-uuid") + 1;
  return argv
    .filter((_, at) => at !== uuidAt)
    .map((word) => word.replace(/guest=\w+/, "guest=").replace(/mac=[0-9a-f:]+/, "mac="));
}

async function podFirstByteMs(node: TrineNode, guest: Guest, image: TestImage): Promise<number> {
  const spools = join(node.rootDir, "pods");
  const known = new Set(await namesIn(spools));
  const started = performance.now();
  const seen = newDirectory(spools, known, BOOT_MS)
    .then((dir) => firstByteOf(dir, "console.log", BOOT_MS))
    .then(() => performance.now() - started);
  const running = node.run(machinePodOptions(guest.name, image, guest.memoryMiB));
  const [pod, ms] = await Promise.all([running, seen]);
  await node.remove(pod);
  return ms;
}

async function bareMs(options: BareOptions): Promise<number> {
  await using bare = await startBareMachine(options);
  return await bareFirstByteMs(bare, BOOT_MS);
}

/** What containerd itself takes for a pod of runc up to a created container. */
async function runcSandboxMs(node: TrineNode, image: TestImage): Promise<number> {
  const { runtime } = node.containerd.cri;
  const config = node.containerd.podConfig({ name: "peer" });
  const started = performance.now();
  const { podSandboxId } = await runtime.runPodSandbox({ config, runtimeHandler: "" });
  await runtime.createContainer({
    podSandboxId,
    sandboxConfig: config,
    config: {
      metadata: { name: "main", attempt: 0 },
      image: { image: image.name },
      command: ["machine"],
      logPath: "main.log",
    },
  });
  const ms = performance.now() - started;
  const pod: Pick<RunningPod, "podSandboxId"> = { podSandboxId };
  await node.remove(pod);
  return ms;
}

function guestFigures(name: string, { pod, bare, sandbox }: Samples): Figure[] {
  const ratios = pod.map((ms, round) => (ms - (sandbox[round] ?? 0)) / (bare[round] ?? Number.NaN));
  return [
    {
      name: `vm-start.${name}.beyond-sandbox`,
      value: median(ratios),
      unit: "times bare QEMU",
      target: { atMost: TARGET_RATIO },
    },
    ...Object.entries({ pod, bare, sandbox }).flatMap(([series, values]) => [
      { name: `vm-start.${name}.${series}-p50`, value: median(values), unit: "ms" },
      { name: `vm-start.${name}.${series}-p95`, value: percentile(values, 0.95), unit: "ms" },
    ]),
  ];
}

function launchFigures(launches: readonly number[]): Figure[] {
  return [
    {
      name: "vm-start.launch-p50",
      value: median(launches),
      unit: "ms",
      target: { atMost: TARGET_LAUNCH_MS },
    },
    { name: "vm-start.launch-p95", value: percentile(launches, 0.95), unit: "ms" },
  ];
}
