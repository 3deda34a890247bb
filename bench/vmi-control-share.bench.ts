// The control plane's part of a machine's start: from the instance to its pod, and from the node's word to the phase Running.
import { type BenchResult, median, percentile } from "./figure.ts";
import { KubeMachines } from "./kube-machines.ts";

const COUNT = Number(process.env["BENCH_MACHINES"] ?? 30);
const EVERY_MS = 1_000;
const MOST_SECONDS = 0.3;
const NAME = "share";

export async function run(): Promise<BenchResult> {
  const rig = await KubeMachines.start();
  const toPod: number[] = [];
  const toRunning: number[] = [];
  const whole: number[] = [];
  try {
    // What the first makes once is none of the others'.
    await rig.machines({ name: "first", count: 1, everyMs: 0 }, "linux");
    const saidAt = await rig.listenToNode();
    const starts = await rig.machines({ name: NAME, count: COUNT, everyMs: EVERY_MS }, "linux");
    for (const [index, { createdAt, runningAt }] of starts.entries()) {
      const name = `${NAME}-${index}`;
      const said = saidAt(name);
      if (said === undefined) throw new Error(`the node has never said that ${name} runs`);
      // The pod may be there before the answer to the create is; so may be the phase before we hear the node.
      toPod.push(Math.max(0, (await rig.madeAt(name)) - createdAt) / 1_000);
      toRunning.push(Math.max(0, runningAt - said) / 1_000);
      whole.push((runningAt - createdAt) / 1_000);
    }
  } finally {
    await rig.stop();
  }
  const shares = toPod.map((seconds, index) => seconds + (toRunning[index] ?? 0));
  return {
    figures: [
      {
        name: "vmi-control-share p50",
        value: median(shares),
        unit: "s",
        target: { atMost: MOST_SECONDS },
      },
      { name: "vmi-control-share p95", value: percentile(shares, 0.95), unit: "s" },
      { name: "vmi-control-share to-pod p50", value: median(toPod), unit: "s" },
      { name: "vmi-control-share to-running p50", value: median(toRunning), unit: "s" },
      { name: "vmi-control-share whole p50", value: median(whole), unit: "s" },
    ],
    samples: { "to-pod-s": toPod, "to-running-s": toRunning, "whole-s": whole },
    notes: [
      `${COUNT} VirtualMachineInstances of a tiny guest, one a second, on one node. To the pod: from the answer to the create until a watch shows the instance's pod. To Running: from the node's word over its door until a watch shows the phase. Scheduler, kubelet and trined are in between, and in the whole alone.`,
    ],
  };
}
