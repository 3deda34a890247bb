import { LINK_LOCAL, connectTap, guestNetwork, readPodInterface } from "@trine/pod-network";
import type { PodInterface } from "@trine/pod-network";
import type { ShimLink } from "@trine/shim-client";
import type { PodContext } from "./pod-context.ts";
import { TAP } from "./tap.ts";

/**
 * Where a connection to the pod's localhost goes: to the guest's address, or through the agent to the
 * guest's own localhost.
 */
export type ForwardTo = "address" | "agent";

/** Moves the pod's addresses to a tap for its guest; nothing for a pod without a network. Repeatable. */
export async function joinNetwork(pod: PodContext, forwardTo: ForwardTo): Promise<void> {
  const { facts, shim, document } = pod;
  if (facts.netns === "") return;
  if (document.network === undefined) {
    const network = await discoverNetwork(shim);
    if (network === undefined) return;
    // Written down before the interface loses the address: from here this is the only record.
    document.network = network;
    await pod.save();
  }
  await connectNetwork(shim, document.network, forwardTo);
}

/** Reads what CNI set up. Undefined when the pod has no interface of its own (no CNI, as with ctr). */
function discoverNetwork(shim: ShimLink): Promise<PodInterface | undefined> {
  return readPodInterface((argv, stdin) => shim.run(argv, stdin));
}

/** Joins the guest's tap to the pod's interface. Repeatable, also half done. */
async function connectNetwork(
  shim: ShimLink,
  network: PodInterface,
  forwardTo: ForwardTo,
): Promise<void> {
  await shim.openTap(TAP, network.mtu);
  const forwardPort = await serveForward(shim, network, forwardTo);
  await connectTap((argv, stdin) => shim.run(argv, stdin), {
    interface: network,
    tap: TAP,
    linkLocal: LINK_LOCAL,
    ...(forwardPort === undefined ? {} : { forwardPort }),
  });
}

async function serveForward(
  shim: ShimLink,
  network: PodInterface,
  forwardTo: ForwardTo,
): Promise<number | undefined> {
  if (forwardTo === "agent") return shim.serveForward({ throughGuest: true });
  const target = network.addresses.find((a) => a.family === "ipv4")?.address;
  return target === undefined ? undefined : shim.serveForward({ target, source: LINK_LOCAL });
}

/** Lets the guest have its address by DHCP too: images without cloud-init ask for it. */
export async function serveDhcp(
  shim: ShimLink,
  network: PodInterface,
  names: {
    hostname: string;
    dns: { nameservers: readonly string[]; search: readonly string[] };
  },
): Promise<void> {
  const { dhcp } = guestNetwork(network, names.dns);
  if (dhcp === undefined) return;
  await shim.serveDhcp({ ...dhcp, tap: TAP, hostname: names.hostname });
}
