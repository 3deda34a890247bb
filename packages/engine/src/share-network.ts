import { shareAddress } from "@trine/pod-network";
import type { PodContext } from "./pod-context.ts";
import { serveForward } from "./sandbox-network.ts";
import { tapOf } from "./tap.ts";

/**
 * Lets ordinary containers have the pod's address beside the machine, whether that runs already or not; nothing for
 * a pod without a network. Repeatable.
 */
export async function shareNetwork({ document, shim }: PodContext): Promise<void> {
  const { network } = document;
  if (network?.addresses.some(({ family }) => family === "ipv4") !== true) return;
  const forwardPort = await serveForward(shim, network, "address");
  if (forwardPort === undefined) return;
  await shareAddress((argv, stdin) => shim.run(argv, stdin), {
    interface: network,
    tap: tapOf(0),
    forwardPort,
  });
}
