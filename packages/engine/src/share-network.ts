import { TrineError } from "@trine/base";
import { parseMachineAnnotations } from "@trine/annotations";
import { shareAddress } from "@trine/pod-network";
import { bindingOf, tapPairs } from "./guest-side.ts";
import type { PodContext } from "./pod-context.ts";
import { serveForward } from "./sandbox-network.ts";
import { tapOf } from "./tap.ts";

/**
 * Lets ordinary containers have the pod's address beside the machine, whether that runs already or not; nothing for
 * a pod without a network. Repeatable.
 */
export async function shareNetwork({ document, shim, sandbox }: PodContext): Promise<void> {
  const { network } = document;
  if (network?.addresses.some(({ family }) => family === "ipv4") !== true) return;
  const binding = bindingOf(document, network);
  if (binding === "passt") return; // the namespace has kept its address
  if (binding !== "tap") {
    throw new TrineError(
      "unimplemented",
      `trine.dev/network-binding: containers beside a machine share its address with a tap or passt; bind ${network.name} as one`,
    );
  }
  const { ports, machine } = parseMachineAnnotations(sandbox.annotations);
  const forwardPort = await serveForward(shim, network, "address");
  if (forwardPort === undefined) return;
  await shareAddress((argv, stdin) => shim.run(argv, stdin), {
    interface: network,
    tap: tapOf(0),
    carriers: tapPairs(document).flatMap((pair) => ("macvtap" in pair ? pair.interface.name : [])),
    taps: tapPairs(document).flatMap((pair) => ("guest" in pair ? [] : pair.tap)),
    forwardPort,
    ports: {
      machine: ports.filter(({ container }) => container === machine),
      containers: ports.filter(({ container }) => container !== machine),
    },
  });
}
