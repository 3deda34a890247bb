// Machines at ten a second against plain pods at ten a second, in turns: from the API server's answer until they run.
import { type BenchResult, median, percentile } from "./figure.ts";
import { KubeMachines, type Start } from "./kube-machines.ts";

/** The whole is 100, which BENCH_MACHINES says. */
const COUNT = Number(process.env["BENCH_MACHINES"] ?? 10);
const ROUNDS = Number(process.env["BENCH_ROUNDS"] ?? 2);
const EVERY_MS = 100;

export async function run(): Promise<BenchResult> {
  const rig = await KubeMachines.start();
  const machines: number[] = [];
  const pods: number[] = [];
  try {
    // What the first of each kind makes once is none of the others'.
    await rig.machines("first", 1, 0);
    await rig.pods("plain-first", 1, 0);
    for (let round = 0; round < ROUNDS; round++) {
      machines.push(...tookMs(await rig.machines(`burst${round}`, COUNT, EVERY_MS)));
      pods.push(...tookMs(await rig.pods(`plain${round}`, COUNT, EVERY_MS)));
    }
  } finally {
    await rig.stop();
  }
  const ratio = median(machines) / median(pods);
  return {
    figures: [
      { name: "vmi-burst.p50-ratio", value: ratio, unit: "times runc", target: { atMost: 1.5 } },
      { name: "vmi-burst.machine-p50", value: median(machines), unit: "ms" },
      { name: "vmi-burst.machine-p95", value: percentile(machines, 0.95), unit: "ms" },
      { name: "vmi-burst.pod-p50", value: median(pods), unit: "ms" },
      { name: "vmi-burst.pod-p95", value: percentile(pods, 0.95), unit: "ms" },
    ],
    samples: { "machine-ms": machines, "pod-ms": pods },
    notes: [
      `${ROUNDS} bursts of ${COUNT} VirtualMachineInstances of a tiny guest (64 MiB, masquerade), ${EVERY_MS} ms apart, in turns with as many pods of runc. ` +
        "From the API server's answer to the create until a watch shows phase Running, or the pod's container running: a machine runs when QEMU does, its guest boots then. All ran: one that does not ends the benchmark.",
    ],
  };
}

function tookMs(starts: readonly Start[]): number[] {
  return starts.map(({ createdAt, runningAt }) => runningAt - createdAt);
}
