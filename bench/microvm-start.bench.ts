// From RunPodSandbox to the first byte of a container's output, beside runc on the same containerd.
import { busyboxImage } from "@trine/testkit";
import type { TrineNode } from "@trine/testkit";
import { median, percentile } from "./figure.ts";
import type { BenchResult, Figure } from "./figure.ts";
import { untilIdle } from "./host.ts";
import { MICROVM, RUNC, firstOutputMs, nodeOf, untilReady } from "./microvm-pods.ts";
import type { Origin, Program } from "./microvm-pods.ts";
import { TINY_PROGRAM, tinyProgramImage } from "./tiny-program.ts";

/** A cold start takes seconds under software emulation. */
const ROUNDS: Readonly<Record<Origin, number>> = { cold: 5, clone: 20, spare: 20 };
/** Over runc's; a cold start is reported only. */
const TARGETS: Readonly<Record<Origin, Readonly<Record<string, number>>>> = {
  cold: {},
  clone: { tiny: 1.5, echo: 2 },
  spare: { tiny: 0.9, echo: 1.2 },
};

/** Milliseconds. `first` is the never-seen image's, `peerFirst` runc's. */
interface Samples {
  readonly first: number;
  readonly microvm: number[];
  readonly runc: number[];
}

export async function run(): Promise<BenchResult> {
  const [tiny, busybox] = await Promise.all([tinyProgramImage(), busyboxImage()]);
  const programs: readonly Program[] = [
    { name: "tiny", image: tiny, command: [TINY_PROGRAM] },
    { name: "echo", image: busybox, command: ["sh", "-c", "echo hello"] },
  ];
  const figures: Figure[] = [];
  const samples: Record<string, readonly number[]> = {};
  for (const origin of ["spare", "clone", "cold"] as const) {
    const node = await nodeOf(origin);
    try {
      for (const program of programs) {
        await node.containerd.importImage(program.image);
        const taken = await compare(node, program, origin);
        const name = `microvm-start-${origin}.${program.name}`;
        figures.push(...figuresOf(name, taken, TARGETS[origin][program.name]));
        samples[`${name}.microvm-ms`] = taken.microvm;
        samples[`${name}.runc-ms`] = taken.runc;
      }
    } finally {
      await node.stop();
    }
  }
  return { figures, samples, notes: NOTES };
}

const NOTES = [
  "spare: a guest of the pool, claimed; clone: a guest that goes on from the node's template; cold: one that boots. " +
    "Ratio: microvm over runc of each round, their median; in turns on one containerd 2.4, the same CNI. tiny: a static program " +
    "of two system calls; echo: busybox sh -c 'echo hello'. image-first: the first start of an image this node has never run.",
  "Each start begins when the host has had nothing to do for half a second, as on a node whose pool is full.",
];

async function compare(node: TrineNode, program: Program, origin: Origin): Promise<Samples> {
  const microvm = (): Promise<number> => firstOutputMs(node, program, MICROVM, origin);
  await untilReady(node, origin);
  const first = await microvm();
  const samples: Samples = { first, microvm: [], runc: [] };
  await firstOutputMs(node, program, RUNC);
  const turns = [
    async () => samples.microvm.push(await microvm()),
    async () => samples.runc.push(await firstOutputMs(node, program, RUNC)),
  ];
  for (let round = 0; round < ROUNDS[origin]; round++) {
    for (const turn of round % 2 === 0 ? turns : turns.toReversed()) {
      // What removes the last pod and refills the pool is not part of either start.
      await untilReady(node, origin);
      await untilIdle();
      await turn();
    }
  }
  return samples;
}

function figuresOf(name: string, { first, microvm, runc }: Samples, atMost?: number): Figure[] {
  const ratios = microvm.map((ms, round) => ms / (runc[round] ?? Number.NaN));
  return [
    {
      name: `${name}.ratio`,
      value: median(ratios),
      unit: "times runc",
      ...(atMost === undefined ? {} : { target: { atMost } }),
    },
    ...Object.entries({ microvm, runc }).flatMap(([series, values]) => [
      { name: `${name}.${series}-p50`, value: median(values), unit: "ms" },
      { name: `${name}.${series}-p95`, value: percentile(values, 0.95), unit: "ms" },
    ]),
    { name: `${name}.image-first`, value: first, unit: "ms" },
  ];
}
