// Long lists asked for by many at once: ListContainers of 500, 64 at a time, through the gateway and without it.
import { median } from "./figure.ts";
import type { BenchResult } from "./figure.ts";
import { oneContainer } from "./gateway-pods.ts";
import { ALL_WAYS, GatewayRig } from "./gateway-rig.ts";
import type { Way } from "./gateway-rig.ts";
import { cpuSeconds } from "./host.ts";

const CONTAINERS = 500;
const AT_ONCE = 64;
const ROUNDS = 10;
const TARGET_RATIO = 0.6;
const MIB = 2 ** 20;

export async function run(): Promise<BenchResult> {
  const rig = await GatewayRig.start();
  try {
    await oneContainer(rig, CONTAINERS);
    const rates: Record<Way, number[]> = { direct: [], gateway: [], bare: [] };
    const cpu: Record<Way, number> = { direct: 0, gateway: 0, bare: 0 };
    let bytes = 0;
    for (let round = -1; round < ROUNDS; round += 1) {
      for (const way of ALL_WAYS) {
        const before = await cpuSeconds(rig.pids[way]);
        const start = performance.now();
        const answers = await Promise.all(
          Array.from({ length: AT_ONCE }, () => rig.call(way, "ListContainers", Buffer.alloc(0))),
        );
        const seconds = (performance.now() - start) / 1000;
        if (round < 0) continue;
        rates[way].push(AT_ONCE / seconds);
        cpu[way] += (await cpuSeconds(rig.pids[way])) - before;
        if (way !== "direct") continue;
        bytes += answers.reduce((sum, { length }) => sum + length, 0);
      }
    }
    const ratio = median(rates.gateway) / median(rates.direct);
    const perMib = (way: Way): number => (cpu[way] * 1000) / (bytes / MIB);
    return {
      figures: [
        { name: "gateway-list direct", value: median(rates.direct), unit: "calls/s" },
        { name: "gateway-list through", value: median(rates.gateway), unit: "calls/s" },
        { name: "gateway-list ratio", value: ratio, unit: "", target: { atLeast: TARGET_RATIO } },
        { name: "gateway-list bare proxy", value: median(rates.bare), unit: "calls/s" },
        { name: "gateway-list CPU", value: perMib("gateway"), unit: "ms/MiB" },
        { name: "gateway-list bare proxy CPU", value: perMib("bare"), unit: "ms/MiB" },
        { name: "gateway-list containerd CPU", value: perMib("direct"), unit: "ms/MiB" },
      ],
      samples: {
        ...{ "direct-per-s": rates.direct, "gateway-per-s": rates.gateway },
        "bare-per-s": rates.bare,
      },
      notes: [
        `gateway-list: ${CONTAINERS} containers, ${AT_ONCE} calls at once, ${ROUNDS} rounds each.`,
      ],
    };
  } finally {
    await rig.stop();
  }
}
