// Machines at ten a second against plain pods at ten a second, in turns: from the API server's answer until they run.
import { type BenchResult, type Figure, median, percentile } from "./figure.ts";
import { KubeMachines, type Start } from "./kube-machines.ts";

const COUNT = Number(process.env["BENCH_MACHINES"] ?? 100);
const ROUNDS = Number(process.env["BENCH_ROUNDS"] ?? 2);
const EVERY_MS = 100;

export async function run(): Promise<BenchResult> {
  const rig = await KubeMachines.start();
  const idle: number[] = [];
  const linux: number[] = [];
  const pods: number[] = [];
  try {
    // What the first of each kind makes once is none of the others'.
    await rig.machines({ name: "first", count: 1, everyMs: 0 }, "idle");
    await rig.machines({ name: "first-linux", count: 1, everyMs: 0 }, "linux");
    await rig.pods({ name: "first-pod", count: 1, everyMs: 0 });
    const of = { count: COUNT, everyMs: EVERY_MS };
    for (let round = 0; round < ROUNDS; round++) {
      idle.push(...tookMs(await rig.machines({ name: `idle${round}`, ...of }, "idle")));
      pods.push(...tookMs(await rig.pods({ name: `pod${round}`, ...of })));
      linux.push(...tookMs(await rig.machines({ name: `linux${round}`, ...of }, "linux")));
    }
  } finally {
    await rig.stop();
  }
  return {
    figures: [
      {
        name: "vmi-burst.p50-ratio",
        value: median(idle) / median(pods),
        unit: "times runc",
        target: { atMost: 1.5 },
      },
      {
        name: "vmi-burst.linux.p50-ratio",
        value: median(linux) / median(pods),
        unit: "times runc",
      },
      ...spread("machine", idle),
      ...spread("linux.machine", linux),
      ...spread("pod", pods),
    ],
    samples: { "machine-ms": idle, "linux-machine-ms": linux, "pod-ms": pods },
    notes: [
      `${ROUNDS} bursts of ${COUNT} VirtualMachineInstances (64 MiB, masquerade), ${EVERY_MS} ms apart, in turns with as many pods of runc. ` +
        "From the API server's answer to the create until a watch shows phase Running, or the pod's container running. All ran: one that does not ends the benchmark.",
      "A machine runs when QEMU does; its guest boots then, beside the starts of the others. That costs nothing where the guest is one sector that halts, " +
        "as pods' program costs nothing; `linux` boots a kernel and busybox, under software emulation seconds of a processor each, which the others' starts wait for.",
    ],
  };
}

function spread(name: string, ms: readonly number[]): Figure[] {
  return [
    { name: `vmi-burst.${name}-p50`, value: median(ms), unit: "ms" },
    { name: `vmi-burst.${name}-p95`, value: percentile(ms, 0.95), unit: "ms" },
  ];
}

function tookMs(starts: readonly Start[]): number[] {
  return starts.map(({ createdAt, runningAt }) => runningAt - createdAt);
}
