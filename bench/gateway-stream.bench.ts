// Bytes of an exec: at containerd's own URL, at the same handed on by the gateway, and relayed by it.
import { TrineError } from "@trine/base";
import { createCriClient } from "@trine/containerd-client";
import type { CriClient } from "@trine/containerd-client";
import { median } from "./figure.ts";
import type { BenchResult } from "./figure.ts";
import { oneContainer } from "./gateway-pods.ts";
import { GatewayRig } from "./gateway-rig.ts";

const MIB = 2 ** 20;
const SIZE_MIB = 128;
const ROUNDS = 5;
const TARGET_RATIO = 0.95;

export async function run(): Promise<BenchResult> {
  const rig = await GatewayRig.start();
  const clients: CriClient[] = [];
  try {
    const containerId = await oneContainer(rig);
    await rig.containerd.cri.runtime.startContainer({ containerId });
    const relaying = createCriClient(await rig.startRelay());
    const through = createCriClient(rig.socket);
    clients.push(relaying, through);
    const ways = { direct: rig.containerd.cri, passed: through, relayed: relaying };
    const rates: Record<string, number[]> = { direct: [], passed: [], relayed: [] };
    for (let round = -1; round < ROUNDS; round += 1) {
      for (const [way, cri] of Object.entries(ways)) {
        const rate = await ratePerSecond(cri, containerId);
        if (round >= 0) rates[way]?.push(rate);
      }
    }
    const of = (way: string): number => median(rates[way] ?? []);
    const target = { atLeast: TARGET_RATIO };
    return {
      figures: [
        { name: "gateway-stream direct", value: of("direct"), unit: "MiB/s" },
        { name: "gateway-stream passed", value: of("passed") / of("direct"), unit: "", target },
        { name: "gateway-stream relayed", value: of("relayed") / of("direct"), unit: "" },
      ],
      samples: rates,
      notes: [
        `gateway-stream: ${SIZE_MIB} MiB of stdout over SPDY, ${ROUNDS} rounds each, in turns.`,
      ],
    };
  } finally {
    for (const client of clients) client.close();
    await rig.stop();
  }
}

/** MiB of stdout. */
async function ratePerSecond(cri: CriClient, containerId: string): Promise<number> {
  const cmd = ["dd", "if=/dev/zero", "bs=1M", `count=${SIZE_MIB}`];
  const start = performance.now();
  const command = await cri.exec({ containerId, cmd, stdout: true });
  let bytes = 0;
  for await (const chunk of command.stdout ?? []) bytes += (chunk as Buffer).length;
  const seconds = (performance.now() - start) / 1000;
  if ((await command.exit) !== 0 || bytes !== SIZE_MIB * MIB) {
    throw new TrineError("internal", `exec: ${bytes} bytes came`);
  }
  return SIZE_MIB / seconds;
}
