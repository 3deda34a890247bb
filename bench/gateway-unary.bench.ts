// What the gateway adds to one call: ContainerStatus through it and without it, in turns.
import { create, toBinary } from "@bufbuild/protobuf";
import { ContainerStatusRequestSchema } from "@trine/proto/cri/api";
import { median, percentile } from "./figure.ts";
import type { BenchResult } from "./figure.ts";
import { oneContainer } from "./gateway-pods.ts";
import { ALL_WAYS, GatewayRig } from "./gateway-rig.ts";
import type { Way } from "./gateway-rig.ts";
import { cpuSeconds } from "./host.ts";

const WARM = 300;
const ROUNDS = 2_000;
const TARGETS = { p50Ms: 0.4, p99Ms: 2 };

export async function run(): Promise<BenchResult> {
  const rig = await GatewayRig.start();
  try {
    const containerId = await oneContainer(rig);
    const schema = ContainerStatusRequestSchema;
    const request = toBinary(schema, create(schema, { containerId }));
    const samples: Record<Way, number[]> = { direct: [], gateway: [], bare: [] };
    const before: Record<Way, number> = { direct: 0, gateway: 0, bare: 0 };
    for (let round = -WARM; round < ROUNDS; round += 1) {
      for (const way of ALL_WAYS) {
        if (round === 0) before[way] = await cpuSeconds(rig.pids[way]);
        const start = performance.now();
        await rig.call(way, "ContainerStatus", request);
        if (round >= 0) samples[way].push(performance.now() - start);
      }
    }
    const cpuMs = async (way: Way, calls = ROUNDS): Promise<number> =>
      (((await cpuSeconds(rig.pids[way])) - before[way]) * 1000) / calls;
    const cpu = {
      // It answers in every way.
      direct: await cpuMs("direct", ROUNDS * ALL_WAYS.length),
      gateway: await cpuMs("gateway"),
      bare: await cpuMs("bare"),
    };
    const added = (of: (samples: readonly number[]) => number, way: Way = "gateway"): number =>
      of(samples[way]) - of(samples.direct);
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
        { name: "gateway-unary bare proxy added p50", value: added(median, "bare"), unit: "ms" },
        { name: "gateway-unary CPU", value: cpu.gateway, unit: "ms" },
        { name: "gateway-unary bare proxy CPU", value: cpu.bare, unit: "ms" },
        { name: "gateway-unary containerd CPU", value: cpu.direct, unit: "ms" },
      ],
      samples: {
        ...{ "direct-ms": samples.direct, "gateway-ms": samples.gateway },
        "bare-ms": samples.bare,
      },
      notes: [
        `gateway-unary: ${ROUNDS} ContainerStatus each way, in turns, one at a time. CPU is a call's, of the process that passes it on, and containerd's own.`,
        "The bare proxy passes calls on by node:http2 alone, without deadlines, limits or rules: less a relay in Node cannot do.",
      ],
    };
  } finally {
    await rig.stop();
  }
}
