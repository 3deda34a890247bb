// RunPodSandbox through the gateway and without it, in turns; each pod is removed before the next.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { RunPodSandboxRequestSchema, RunPodSandboxResponseSchema } from "@trine/proto/cri/api";
import { median, percentile } from "./figure.ts";
import type { BenchResult } from "./figure.ts";
import { GatewayRig, WAYS } from "./gateway-rig.ts";
import type { Way } from "./gateway-rig.ts";

const ROUNDS = 30;
const TARGET_RATIO = 1.03;

export async function run(): Promise<BenchResult> {
  const rig = await GatewayRig.start();
  try {
    const samples: Record<Way, number[]> = { direct: [], gateway: [], bare: [] };
    for (let round = -1; round < ROUNDS; round += 1) {
      // Who is first changes: the one after finds the host busy with the removal before.
      for (const way of round % 2 === 0 ? WAYS : WAYS.toReversed()) {
        const ms = await onePod(rig, way, `pod-${way}-${round + 1}`);
        if (round >= 0) samples[way].push(ms);
      }
    }
    const ratio = median(samples.gateway) / median(samples.direct);
    return {
      figures: [
        { name: "gateway-pod direct p50", value: median(samples.direct), unit: "ms" },
        { name: "gateway-pod through p50", value: median(samples.gateway), unit: "ms" },
        { name: "gateway-pod through p95", value: percentile(samples.gateway, 0.95), unit: "ms" },
        { name: "gateway-pod ratio", value: ratio, unit: "", target: { atMost: TARGET_RATIO } },
      ],
      samples: { "direct-ms": samples.direct, "gateway-ms": samples.gateway },
      notes: [
        `gateway-pod: ${ROUNDS} sandboxes each way, in turns, on containerd 2.4 with runc and CNI.`,
      ],
    };
  } finally {
    await rig.stop();
  }
}

async function onePod(rig: GatewayRig, way: Way, name: string): Promise<number> {
  const { containerd } = rig;
  const schema = RunPodSandboxRequestSchema;
  const request = toBinary(schema, create(schema, { config: containerd.podConfig({ name }) }));
  const start = performance.now();
  const answer = await rig.call(way, "RunPodSandbox", request);
  const ms = performance.now() - start;
  const { podSandboxId } = fromBinary(RunPodSandboxResponseSchema, answer);
  await containerd.cri.runtime.stopPodSandbox({ podSandboxId });
  await containerd.cri.runtime.removePodSandbox({ podSandboxId });
  return ms;
}
