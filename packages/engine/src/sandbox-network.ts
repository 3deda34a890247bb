import {
  connectTaps,
  dhcpOffer,
  linkLocalOf,
  makeMacvtaps,
  readPodInterfaces,
} from "@trine/pod-network";
import type { DnsConfig, PodInterface } from "@trine/pod-network";
import type { ShimLink } from "@trine/shim-client";
import { checkBindings, guestInterfaces, hasPasst, tapPairs } from "./guest-side.ts";
import type { PodContext } from "./pod-context.ts";
import { tapOf } from "./tap.ts";

/**
 * Where a connection to the pod's localhost goes: to the guest's address, or through the agent to the
 * guest's own localhost.
 */
export type ForwardTo = "address" | "agent";

/** Moves the pod's addresses to taps for its guest; nothing for a pod without a network. Repeatable. */
export async function joinNetwork(pod: PodContext, forwardTo: ForwardTo): Promise<void> {
  if (pod.facts.netns !== "") await takeNetwork(pod, forwardTo, pod.facts.taps);
}

/** The same of a pod in a namespace of its shim's own. `taps`: those that are there already. */
export async function takeNetwork(
  pod: PodContext,
  forwardTo: ForwardTo,
  taps: readonly string[],
): Promise<void> {
  await lookAtNetwork(pod, taps);
  await connectNetwork(pod, forwardTo);
}

/**
 * Notes the pod's interfaces and makes the guest's taps for them: enough for the guest to start. Nothing for a pod
 * without a network. Repeatable; `connectNetwork` comes next.
 */
export async function prepareNetwork(pod: PodContext): Promise<void> {
  if (pod.facts.netns !== "") await lookAtNetwork(pod, pod.facts.taps);
}

async function lookAtNetwork(pod: PodContext, taps: readonly string[]): Promise<void> {
  const { shim, document } = pod;
  if (document.network === undefined) {
    // A shim that was claimed has brought its tap along.
    const run: ShimLink["run"] = (argv, stdin) => shim.run(argv, stdin);
    const [primary, ...others] = await readPodInterfaces(run, taps);
    if (primary === undefined) return; // no CNI, as with ctr
    checkBindings(document.bindings, [primary, ...others]);
    // Written down before the interfaces lose their addresses: from here this is the only record.
    document.network = primary;
    document.otherNetworks = others;
    await pod.save();
  }
  await openTaps(pod);
}

async function openTaps({ shim, document }: PodContext): Promise<void> {
  const pairs = tapPairs(document);
  const { queues = 1 } = document;
  await makeMacvtaps(
    (argv, stdin) => shim.run(argv, stdin),
    pairs.filter((pair) => "macvtap" in pair),
  );
  for (const pair of pairs) {
    const { mtu } = pair.interface;
    if ("macvtap" in pair) await shim.openTap(pair.macvtap, mtu, { queues, macvtap: true });
    else await shim.openTap(pair.tap, mtu, { queues });
  }
}

/**
 * Joins the guest's taps to the pod's interfaces; nothing for a pod without a network. Repeatable, also half done.
 */
export async function connectNetwork(
  { shim, document }: PodContext,
  forwardTo: ForwardTo,
): Promise<void> {
  if (document.network === undefined) return;
  const pairs = tapPairs(document);
  const isCarried = hasPasst(document); // passt listens at the pod's ports itself, on localhost too
  const forwardPort = isCarried
    ? undefined
    : await serveForward(shim, guestInterfaces(document)[0], forwardTo);
  const first = isCarried ? 1 : 0;
  await connectTaps((argv, stdin) => shim.run(argv, stdin), pairs, forwardPort, first);
}

export async function serveForward(
  shim: ShimLink,
  primary: PodInterface | undefined,
  forwardTo: ForwardTo,
): Promise<number | undefined> {
  if (forwardTo === "agent") return shim.serveForward({ throughGuest: true });
  const target = primary?.addresses.find((a) => a.family === "ipv4")?.address;
  return target === undefined ? undefined : shim.serveForward({ target, source: linkLocalOf(0) });
}

/** Lets the guest have its addresses by DHCP too: images without cloud-init ask for them. */
export async function serveDhcp(
  shim: ShimLink,
  interfaces: readonly PodInterface[],
  names: { readonly hostname: string; readonly dns: DnsConfig; readonly first: number },
): Promise<void> {
  for (const [index, pod] of interfaces.entries()) {
    if (index < names.first) continue;
    const offer = dhcpOffer(pod, index, names.dns);
    if (offer === undefined) continue;
    await shim.serveDhcp({ ...offer, tap: tapOf(index), hostname: names.hostname });
  }
}
