// What trine-control holds with a thousand machines, and what it writes for each start: one run for both figures.
import { setTimeout as sleep } from "node:timers/promises";
import { ControlRig } from "./control-rig.ts";
import type { BenchResult } from "./figure.ts";
import { rssBytes } from "./host.ts";

const MACHINES = Number(process.env["BENCH_MACHINES"] ?? 1_000);
const NODES = 10;
const MIB = 2 ** 20;
const MOST_MIB = 200;
const MOST_WRITES = 6;
/** Between looks at the memory, while the machines run. */
const LOOK_MS = 1_000;
const LOOKS = 20;

export async function run(): Promise<BenchResult> {
  const rig = await ControlRig.start(NODES);
  try {
    const idle = (await rssBytes(rig.pid)) / MIB;
    const before = await rig.writes();
    const starting: number[] = [];
    let isMade = false;
    const look = async (): Promise<void> => {
      while (!isMade) {
        starting.push((await rssBytes(rig.pid)) / MIB);
        await sleep(LOOK_MS);
      }
    };
    const make = rig.makeMachines(MACHINES).finally(() => {
      isMade = true;
    });
    await Promise.all([make, look()]);
    const writes = (await rig.writes()) - before;
    const running: number[] = [];
    for (let index = 0; index < LOOKS; index += 1) {
      await sleep(LOOK_MS);
      running.push((await rssBytes(rig.pid)) / MIB);
    }
    return {
      figures: [
        {
          name: "control-memory",
          value: Math.max(...running),
          unit: "MiB",
          target: { atMost: MOST_MIB },
        },
        { name: "control-memory most while they start", value: Math.max(...starting), unit: "MiB" },
        { name: "control-memory without machines", value: idle, unit: "MiB" },
        {
          name: "control-writes",
          value: writes / MACHINES,
          unit: "writes/start",
          target: { atMost: MOST_WRITES },
        },
      ],
      samples: { "rss-mib-starting": starting, "rss-mib-running": running, writes: [writes] },
      notes: [
        `control-memory: ${MACHINES} VirtualMachines on ${NODES} hollow nodes, 8 made at a time; resident memory of one trine-control of role all.`,
        "control-writes: PUT, PATCH and apply on VMs, VMIs, pods and their status, as the API server counts them; the pods' status as kubelet writes it left out.",
      ],
    };
  } finally {
    await rig.stop();
  }
}
