import type { GatewayRig } from "./gateway-rig.ts";

/** Containers made at a time: containerd writes them to one disk. */
const AT_ONCE = 16;

/** Makes a sandbox with `count` containers that are never started; the first one's id. */
export async function oneContainer(rig: GatewayRig, count = 1): Promise<string> {
  const { containerd, image } = rig;
  const { runtime } = containerd.cri;
  const config = containerd.podConfig({ name: "many" });
  const { podSandboxId } = await runtime.runPodSandbox({ config });
  const create = async (attempt: number): Promise<string> => {
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
    return containerId;
  };
  const first = await create(0);
  for (let made = 1; made < count; made += AT_ONCE) {
    const size = Math.min(AT_ONCE, count - made);
    await Promise.all(Array.from({ length: size }, (_, index) => create(made + index)));
  }
  return first;
}
