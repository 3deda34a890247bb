// How long the command line takes from its start to its end, beside containerd's own: what a person waits for.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { DIST, TrineNode, busyboxImage } from "@trine/testkit";
import { median, percentile } from "./figure.ts";
import type { BenchResult, Figure } from "./figure.ts";

const runFile = promisify(execFile);
const ROUNDS = 40;
const PODS = 3;
const TARGET_MS = 150;

/** Each program once a round, one after the other: what the host does meanwhile is everybody's. */
export async function run(): Promise<BenchResult> {
  const node = await TrineNode.start({ version: "2.4" });
  try {
    const image = await busyboxImage();
    await node.containerd.importImage(image);
    for (let index = 0; index < PODS; index += 1) {
      const command = ["sleep", "1000"];
      await node.run({ name: `pod-${index}`, image: image.name, handler: "", command });
    }
    const commands = commandsFor(node);
    const samples: Record<string, number[]> = Object.fromEntries(
      Object.keys(commands).map((name) => [`${name}-ms`, []]),
    );
    for (let round = -1; round < ROUNDS; round += 1) {
      for (const [name, argv] of Object.entries(commands)) {
        const ms = await timeOf(node, argv);
        // The first round fills the page cache.
        if (round >= 0) samples[`${name}-ms`]?.push(ms);
      }
    }
    return {
      figures: Object.keys(commands).flatMap((name) =>
        figuresOf(name, samples[`${name}-ms`] ?? []),
      ),
      samples,
      notes: [
        `cli-start: ${ROUNDS} rounds, interleaved, ${PODS} pods running; from fork to exit.`,
        "The peer is containerd's ctr: crictl is in no package of this machine's. `node` is an empty program.",
      ],
    };
  } finally {
    await node.stop();
  }
}

function commandsFor(node: TrineNode): Readonly<Record<string, readonly string[]>> {
  const trine = [process.execPath, join(DIST, "trine.mjs")];
  const ctr = ["ctr", "--address", node.containerd.socket, "--namespace", "k8s.io"];
  return {
    help: [...trine, "--help"],
    ps: [...trine, "ps"],
    "ctr-help": ["ctr", "--help"],
    "ctr-containers": [...ctr, "containers", "ls"],
    node: [process.execPath, "-e", "0"],
  };
}

async function timeOf(node: TrineNode, argv: readonly string[]): Promise<number> {
  const [program = "", ...args] = argv;
  const env = {
    ...process.env,
    TRINE_STATE: node.stateDir,
    TRINE_DATA: join(node.dir, "data"),
    TRINE_CONTAINERD: node.containerd.socket,
  };
  const start = performance.now();
  await runFile(program, args, { env });
  return performance.now() - start;
}

function figuresOf(name: string, samples: readonly number[]): Figure[] {
  const target = ["help", "ps"].includes(name) ? { target: { atMost: TARGET_MS } } : {};
  return [
    { name: `cli-start ${name} p50`, value: median(samples), unit: "ms", ...target },
    { name: `cli-start ${name} p95`, value: percentile(samples, 0.95), unit: "ms" },
  ];
}
