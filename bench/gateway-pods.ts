import { TrineError } from "@trine/base";
import type { GatewayRig } from "./gateway-rig.ts";

/** Makes a sandbox with `count` containers that are never started; the first one's id. */
export async function oneContainer(rig: GatewayRig, count = 1): Promise<string> {
  const { containerd, image } = rig;
  const { runtime } = containerd.cri;
  const config = containerd.podConfig({ name: "many" });
  const { podSandboxId } = await runtime.runPodSandbox({ config });
  let first: string | undefined;
  for (let attempt = 0; attempt < count; attempt += 1) {
    const { containerId } = await runtime.createContainer({
      podSandboxId,
      sandboxConfig: config,
      config: {
        metadata: { name: "main", attempt },
        image: { image: image.name },
        command: ["sleep", "1000"],
        // What kubelet writes, in size.
        labels: { "io.kubernetes.pod.uid": config.metadata.uid, filler: "x".repeat(400) },
      },
    });
    first ??= containerId;
  }
  if (first === undefined) throw new TrineError("invalid", "no container is wanted");
  return first;
}
