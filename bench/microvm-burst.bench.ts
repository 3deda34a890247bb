// Twenty pods at once, beside twenty of runc.
import { busyboxImage } from "@trine/testkit";
import type { TrineNode } from "@trine/testkit";
import type { BenchResult, Figure } from "./figure.ts";
import { MICROVM, RUNC, firstOutputMs, nodeOf, untilReady } from "./microvm-pods.ts";
import type { Origin, Program } from "./microvm-pods.ts";

const PODS = 20;
/** A host with little memory holds no more spares than this. */
const SPARES = 20;

export async function run(): Promise<BenchResult> {
  const program: Program = {
    name: "burst",
    image: await busyboxImage(),
    command: ["sh", "-c", "echo hello"],
  };
  const figures: Figure[] = [];
  const samples: Record<string, readonly number[]> = {};
  for (const origin of ["spare", "clone"] as const) {
    const node = await nodeOf(origin, SPARES);
    try {
      await node.containerd.importImage(program.image);
      await firstOutputMs(node, program, RUNC);
      await firstOutputMs(node, program, MICROVM);
      await untilReady(node, origin, SPARES);
      const name = origin === "spare" ? "pool-full" : "pool-empty";
      const runc = await burst(node, program, RUNC);
      await untilReady(node, origin, SPARES);
      const microvm = await burst(node, program, MICROVM, origin);
      figures.push(
        {
          name: `microvm-burst.${name}.ratio`,
          value: last(microvm) / last(runc),
          unit: "times runc",
        },
        { name: `microvm-burst.${name}.microvm`, value: last(microvm), unit: "ms" },
        { name: `microvm-burst.${name}.runc`, value: last(runc), unit: "ms" },
      );
      samples[`${name}.microvm-ms`] = microvm;
      samples[`${name}.runc-ms`] = runc;
    } finally {
      await node.stop();
    }
  }
  return { figures, samples, notes: NOTES };
}

const NOTES = [
  `${PODS} pods of busybox sh -c 'echo hello' asked for at once, to the last one's first byte; one burst each, runc first. ` +
    "pool-full: a spare guest for every pod; pool-empty: every guest goes on from the template.",
];

async function burst(
  node: TrineNode,
  program: Program,
  handler: string,
  origin?: Origin,
): Promise<number[]> {
  const pods = Array.from({ length: PODS }, (_, index) =>
    firstOutputMs(node, { ...program, name: `burst${index}` }, handler, origin),
  );
  return await Promise.all(pods);
}

function last(values: readonly number[]): number {
  return Math.max(...values);
}
