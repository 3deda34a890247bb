import { TrineError, kindOf, messageOf } from "@trine/base";
import {
  connectTaps,
  dhcp6Offer,
  dhcpOffer,
  findGatewayMac,
  linkLocalOf,
  makeMacvtaps,
  readPodInterfaces,
  takeMac,
} from "@trine/pod-network";
import type { DnsConfig, PodInterface } from "@trine/pod-network";
import type { ShimLink } from "@trine/shim-client";
import {
  bindingOf,
  checkBindings,
  guestInterfaces,
  hasPasst,
  requireInterfaces,
  tapPairs,
} from "./guest-side.ts";
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
    checkBindings(document.bindings, [primary, ...others], document.hidden);
    requireInterfaces("trine.dev/interfaces", Object.keys(document.hidden ?? {}), [
      primary,
      ...others,
    ]);
    const network = await withGuestMac(pod, run, primary);
    // Written down before the interfaces lose their addresses: from here this is the only record.
    document.network = network;
    document.otherNetworks = others;
    if (document.bindings !== undefined) {
      document.routerMacs = await routerMacs(pod, run, [network, ...others]);
    }
    await pod.save();
  }
  await openTaps(pod);
}

/** Frame by frame the guest's MAC is the pod's: the interface takes it. Containers beside the machine have it too. */
async function withGuestMac(
  { document }: PodContext,
  run: ShimLink["run"],
  primary: PodInterface,
): Promise<PodInterface> {
  const { guestMac: mac } = document;
  if (mac === undefined || bindingOf(document, primary) !== "tap") return primary;
  await takeMac(run, primary, mac);
  return { ...primary, mac };
}

/** Of the interfaces that the guest has as they are. Without one its guest lacks a route, and the pod is not worth less. */
async function routerMacs(
  { document, log }: PodContext,
  run: ShimLink["run"],
  interfaces: readonly PodInterface[],
): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const each of interfaces) {
    if (!["tap", "macvtap"].includes(bindingOf(document, each))) continue;
    const mac = await findGatewayMac(run, each).catch((cause: unknown) => {
      log.warn({ interface: each.name, err: messageOf(cause) }, "the IPv6 gateway is not known");
      return undefined;
    });
    if (mac !== undefined) found[each.name] = mac;
  }
  return found;
}

async function openTaps({ shim, document, facts }: PodContext): Promise<void> {
  const pairs = tapPairs(document);
  const { queues = 1 } = document;
  requireFeatures(facts, {
    "tap-queues": queues > 1,
    macvtap: pairs.some((pair) => "macvtap" in pair),
  });
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

/** An older shim passes over what it does not know: its guest would have one queue, or a tap of another kind. */
function requireFeatures(
  { features, version }: PodContext["facts"],
  wanted: Readonly<Record<string, boolean>>,
): void {
  const missing = Object.keys(wanted).find(
    (name) => wanted[name] === true && !features.includes(name),
  );
  if (missing === undefined) return;
  const what = `the pod's shim (${version}) has no ${missing} yet, which its network needs`;
  throw new TrineError("wrongState", `${what}: delete the pod and make it anew`);
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

async function serveForward(
  shim: ShimLink,
  primary: PodInterface | undefined,
  forwardTo: ForwardTo,
): Promise<number | undefined> {
  if (forwardTo === "agent") return shim.serveForward({ throughGuest: true });
  const target = primary?.addresses.find((a) => a.family === "ipv4")?.address;
  return target === undefined ? undefined : shim.serveForward({ target, source: linkLocalOf(0) });
}

/**
 * Lets the guest have its addresses by DHCP and DHCPv6 too: images without cloud-init ask for them. Not where passt
 * answers. A shim of an older release has no DHCPv6, and its guest none as before.
 */
export async function serveDhcp(
  { shim, document, log }: PodContext,
  names: { readonly hostname: string; readonly dns: DnsConfig },
): Promise<void> {
  for (const [index, pod] of guestInterfaces(document).entries()) {
    if (index === 0 && hasPasst(document)) continue;
    const tap = tapOf(index);
    const offer = dhcpOffer(pod, index, names.dns);
    if (offer !== undefined) await shim.serveDhcp({ ...offer, tap, hostname: names.hostname });
    const isOurs = bindingOf(document, pod) === "masquerade";
    const mac = isOurs ? await macOf(shim, tap) : document.routerMacs?.[pod.name];
    const offer6 = dhcp6Offer(pod, names.dns, mac);
    if (offer6 === undefined) continue;
    await shim.serveDhcp6({ ...offer6, tap }).catch((cause: unknown) => {
      if (kindOf(cause) !== "unimplemented") throw cause;
      log.warn({ tap }, "the pod's shim is of an older release: no DHCPv6 for its guest");
    });
  }
}

/** Of a link of the pod's namespace. */
async function macOf(shim: ShimLink, link: string): Promise<string> {
  const { stdout } = await shim.run(["ip", "-j", "link", "show", "dev", link]);
  const [{ address = "" } = {}] = JSON.parse(stdout) as { address?: string }[];
  return address;
}
