// What the gateway adds to one call: ContainerStatus through it and without it, in turns.
import { create, toBinary } from "@bufbuild/protobuf";
import { ContainerStatusRequestSchema } from "@trine/proto/cri/api";
import { median, percentile } from "./figure.ts";
import type { BenchResult } from "./figure.ts";
import { oneContainer } from "./gateway-pods.ts";
import { GatewayRig, WAYS } from "./gateway-rig.ts";
import type { Way } from "./gateway-rig.ts";

const WARM = 300;
const ROUNDS = 2_000;
const TARGETS = { p50Ms: 0.4, p99Ms: 2 };

export async function run(): Promise<BenchResult> {
  const rig = await GatewayRig.start();
  try {
    const containerId = await oneContainer(rig);
    const schema = ContainerStatusRequestSchema;
    const request = toBinary(schema, create(schema, { containerId }));
    const samples: Record<Way, number[]> = { direct: [], gateway: [] };
    for (let round = -WARM; round < ROUNDS; round += 1) {
      for (const way of WAYS) {
        const start = performance.now();
        await rig.call(way, "ContainerStatus", request);
        if (round >= 0) samples[way].push(performance.now() - start);
      }
    }
    const added = (of: (samples: readonly number[]) => number): number =>
      of(samples.gateway) - of(samples.direct);
    const p99 = (all: readonly number[]): number => percentile(all, 0.99);
    return {
      figures: [
        { name: "gateway-unary direct p50", value: median(samples.direct), unit: "ms" },
        { name: "gateway-unary direct p99", value: p99(samples.direct), unit: "ms" },
        {
          name: "gateway-unary added p50",
          value: added(median),
          unit: "ms",
          target: { atMost: TARGETS.p50Ms },
        },
        {
          name: "gateway-unary added p99",
          value: added(p99),
          unit: "ms",
          target: { atMost: TARGETS.p99Ms },
        },
      ],
      samples: { "direct-ms": samples.direct, "gateway-ms": samples.gateway },
      notes: [`gateway-unary: ${ROUNDS} ContainerStatus each way, in turns, one at a time.`],
    };
  } finally {
    await rig.stop();
  }
}
