import { TrineError, allDone } from "@trine/base";
import { forwardingRules } from "./forwarding-rules.ts";
import type { ForwardingInput, TapLink } from "./forwarding-rules.ts";
import { linkLocalOf } from "./guest-network.ts";
import {
  keepAdvertisements,
  masqueradeCommands,
  masqueradeRules,
  masqueradeSettings,
} from "./masquerade.ts";
import type { MacvtapLink } from "./macvtap.ts";
import type { MasqueradeLink } from "./masquerade.ts";
import { mustRun } from "./run-command.ts";
import type { RunInPod } from "./run-command.ts";

const TAP_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/;

/** An interface of the pod and the guest's tap for it; `guest` where the pod keeps its addresses. */
export type TapPair = Pick<TapLink, "interface" | "tap"> | MacvtapLink | MasqueradeLink;

/**
 * Joins the guest's taps to the pod's interfaces and gives the guest the pod's addresses, or hides it behind them. Repeatable,
 * also after half of it. The taps must exist. Nothing undoes it: it goes with the namespace.
 *
 * The addresses stay listed on the interfaces (CNI plugins read them there when they tear down, and
 * leak their NAT rules when they find none) but are not local to the namespace any more.
 */
export async function connectTaps(
  run: RunInPod,
  pairs: readonly TapPair[],
  forwardPort?: number,
  /** Of the guest's network cards: which the first of these is. */
  first = 0,
): Promise<void> {
  const all = pairs.map((pair, index) => ({ ...pair, linkLocal: linkLocalOf(first + index) }));
  for (const { tap } of all) {
    if (!TAP_NAME.test(tap)) {
      throw new TrineError("internal", `connect tap: ${JSON.stringify(tap)} is no name`);
    }
  }
  const hidden = all.filter((link) => "guest" in link);
  const links = all.filter((link) => !("guest" in link));
  const input: ForwardingInput = { links, ...(forwardPort === undefined ? {} : { forwardPort }) };
  const doing = `connect ${all.map((each) => `${each.tap} to ${each.interface.name}`).join(", ")}`;
  const settings = [
    ...new Set([...links.flatMap(networkSettings), ...hidden.flatMap(masqueradeSettings)]),
  ];
  // Neither needs the other; both come before the addresses leave.
  await allDone([
    mustRun(run, doing, ["nft", "-f", "-"], rulesOf(input, hidden)),
    keepAllAdvertisements(run, doing, hidden).then(() => applySettings(run, doing, settings)),
  ]);
  const ipv4 = commandsOf("ipv4", links, hidden);
  if (ipv4 !== "") await mustRun(run, doing, ["ip", "-batch", "-"], ipv4);
  const ipv6 = commandsOf("ipv6", links, hidden);
  if (ipv6 !== "") await mustRun(run, doing, ["ip", "-6", "-batch", "-"], ipv6);
}

/** None where passt carries the pod's only interface: sysctl without names fails. */
async function applySettings(
  run: RunInPod,
  doing: string,
  settings: readonly string[],
): Promise<void> {
  if (settings.length > 0) await mustRun(run, doing, ["sysctl", "-eqw", ...settings], "");
}

async function keepAllAdvertisements(
  run: RunInPod,
  doing: string,
  hidden: readonly MasqueradeLink[],
): Promise<void> {
  for (const each of hidden) await keepAdvertisements(run, doing, each);
}

function rulesOf(input: ForwardingInput, hidden: readonly MasqueradeLink[]): string {
  return [forwardingRules(input), ...masqueradeRules(hidden), ""].join("\n");
}

function commandsOf(
  family: "ipv4" | "ipv6",
  links: readonly TapLink[],
  hidden: readonly (MasqueradeLink & { readonly linkLocal: string })[],
): string {
  const joined = links.map(family === "ipv4" ? ipv4Commands : ipv6Commands);
  return [
    ...joined,
    ...hidden.map((each) => masqueradeCommands(each, each.linkLocal)[family]),
  ].join("");
}

/** A new namespace takes most of these from the host, so none can be taken for granted. */
function networkSettings({ interface: pod, tap }: TapLink): string[] {
  const ipv6 = pod.addresses.some((a) => a.family === "ipv6");
  // sysctl takes a dot in an interface's name for a separator, unless the others are slashes.
  return [
    // The guest's source address is one that the namespace still lists as its own.
    `net/ipv4/conf/${tap}/accept_local=1`,
    // Answer ARP for the tap's address whoever asks; the higher of "all" and the device rules.
    "net/ipv4/conf/all/arp_ignore=0",
    `net/ipv4/conf/${tap}/arp_ignore=0`,
    "net/ipv4/conf/all/arp_filter=0",
    `net/ipv4/conf/${tap}/arp_filter=0`,
    // The namespace has the guest's MAC on this interface and must not speak with it.
    ipv6 ? `net/ipv6/conf/${pod.name}/accept_ra=0` : `net/ipv6/conf/${pod.name}/disable_ipv6=1`,
    `net/ipv6/conf/${tap}/disable_ipv6=1`,
  ];
}

function ipv4Commands({ interface: pod, tap, linkLocal }: TapLink): string {
  const own = pod.addresses.filter((a) => a.family === "ipv4").map((a) => a.address);
  const lines = [
    `link set dev ${tap} up`,
    ...own.map((address) => `route flush table local exact ${address}`),
    `route flush dev ${pod.name}`,
    `address replace ${linkLocal}/32 dev ${tap} scope link`,
    ...own.flatMap((address) => [
      `route replace ${address}/32 dev ${tap} src ${linkLocal}`,
      // No ARP towards the guest: it need not answer, and cannot answer for others.
      `neighbour replace ${address} lladdr ${pod.mac} dev ${tap} nud permanent`,
    ]),
  ];
  return `${lines.join("\n")}\n`;
}

function ipv6Commands({ interface: pod }: TapLink): string {
  const own = pod.addresses.filter((a) => a.family === "ipv6").map((a) => a.address);
  if (own.length === 0) return "";
  const flush = own.map((address) => `route flush table local exact ${address}\n`);
  return `${flush.join("")}route flush dev ${pod.name}\n`;
}
