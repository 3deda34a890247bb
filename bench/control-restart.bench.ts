// trine-control ends and starts anew with a thousand machines running: how long until it is quiet, and what it changed.
import { setTimeout as sleep } from "node:timers/promises";
import { PODS, type Resource, resourceOf } from "@trine/kube-client";
import { VIRTUAL_MACHINE, VIRTUAL_MACHINE_INSTANCE } from "@trine/kube-types";
import { ControlRig } from "./control-rig.ts";
import { median } from "./figure.ts";
import type { BenchResult } from "./figure.ts";
import { cpuSeconds } from "./host.ts";

const MACHINES = Number(process.env["BENCH_MACHINES"] ?? 1_000);
const NODES = 10;
const ROUNDS = Number(process.env["BENCH_ROUNDS"] ?? 5);
const MOST_SECONDS = 10;
/** Quiet: it has used less of a processor than that for so long. */
const QUIET = { share: 0.05, ms: 1_000 } as const;
const WATCHED: readonly Resource[] = [
  resourceOf(VIRTUAL_MACHINE),
  resourceOf(VIRTUAL_MACHINE_INSTANCE),
  PODS,
];

export async function run(): Promise<BenchResult> {
  const rig = await ControlRig.start(NODES);
  try {
    await rig.makeMachines(MACHINES);
    await quiet(rig);
    const [seconds, cpu, changed]: number[][] = [[], [], []];
    for (let round = 0; round < ROUNDS; round += 1) {
      await rig.stopControl();
      const before = await versions(rig);
      const started = performance.now();
      await rig.startControl();
      const settledAt = await quiet(rig);
      seconds?.push((settledAt - started) / 1_000);
      cpu?.push(await cpuSeconds(rig.pid));
      const after = await versions(rig);
      const isOther = (key: string): boolean => before.get(key) !== after.get(key);
      changed?.push([...new Set([...before.keys(), ...after.keys()])].filter(isOther).length);
    }
    return {
      figures: [
        {
          name: "control-restart",
          value: median(seconds ?? []),
          unit: "s",
          target: { atMost: MOST_SECONDS },
        },
        {
          name: "control-restart objects changed",
          value: Math.max(...(changed ?? [])),
          unit: "objects",
          target: { atMost: 0 },
        },
        { name: "control-restart processor", value: median(cpu ?? []), unit: "s" },
      ],
      samples: { seconds: seconds ?? [], "cpu-seconds": cpu ?? [], changed: changed ?? [] },
      notes: [
        `control-restart: ${MACHINES} VirtualMachines on ${NODES} hollow nodes, ${ROUNDS} restarts (SIGTERM, then another process); settled: it leads, serves, watches every node's door, and has used less than ${QUIET.share * 100} % of a processor for ${QUIET.ms} ms, whose beginning counts.`,
      ],
    };
  } finally {
    await rig.stop();
  }
}

/** When the program became quiet, by the clock of this process. */
async function quiet(rig: ControlRig): Promise<number> {
  for (;;) {
    const since = performance.now();
    const used = await cpuSeconds(rig.pid);
    await sleep(QUIET.ms);
    const share = ((await cpuSeconds(rig.pid)) - used) / ((performance.now() - since) / 1_000);
    if (share < QUIET.share && rig.watched === NODES) return since;
  }
}

/** Each object's version by its kind, name and uid. */
async function versions({ client }: ControlRig): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const resource of WATCHED) {
    const { items } = await client.list(resource, { namespace: "default" });
    for (const { metadata } of items) {
      found.set(`${resource.plural} ${metadata.name} ${metadata.uid}`, metadata.resourceVersion);
    }
  }
  return found;
}
