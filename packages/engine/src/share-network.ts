import { TrineError } from "@trine/base";
import { parseMachineAnnotations } from "@trine/annotations";
import { LOCAL_IPV6, linkLocalOf, shareAddress } from "@trine/pod-network";
import type { PodInterface } from "@trine/pod-network";
import type { ShimLink } from "@trine/shim-client";
import { bindingOf, tapPairs } from "./guest-side.ts";
import type { PodContext } from "./pod-context.ts";
import { tapOf } from "./tap.ts";

/**
 * Lets ordinary containers have the pod's address beside the machine, whether that runs already or not; nothing for
 * a pod without a network. Repeatable.
 */
export async function shareNetwork({ document, shim, sandbox }: PodContext): Promise<void> {
  const { network } = document;
  if (network === undefined || network.addresses.length === 0) return;
  const binding = bindingOf(document, network);
  if (binding === "passt") return; // the namespace has kept its address
  if (binding !== "tap") {
    throw new TrineError(
      "unimplemented",
      `trine.dev/network-binding: containers beside a machine share its address with a tap or passt; bind ${network.name} as one`,
    );
  }
  const { ports, machine } = parseMachineAnnotations(sandbox.annotations);
  const forwardPort = await serveLocalhost(shim, network);
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

/** Answers the port to which localhost goes, on to the machine's address. */
function serveLocalhost(shim: ShimLink, { addresses }: PodInterface): Promise<number> {
  const ipv4 = addresses.find(({ family }) => family === "ipv4");
  const [first] = addresses;
  const target = (ipv4 ?? first)?.address ?? "";
  const source = ipv4 === undefined ? LOCAL_IPV6 : linkLocalOf(0);
  return shim.serveForward({ target, source });
}
