import { TrineError } from "@trine/base";
import { STAND_IN_ROUTER } from "./dhcp6-offer.ts";
import { LOCAL_IPV6 } from "./guest-network.ts";
import { hostOf, networkOf, overlaps } from "./ip-bits.ts";
import type { PodAddress, PodInterface, PodRoute } from "./pod-interface.ts";
import { mustRun } from "./run-command.ts";
import type { RunInPod } from "./run-command.ts";

/** How a guest has an interface of its pod: with the pod's addresses, or (masquerade) with others behind them. */
export type Binding = "tap" | "masquerade" | "passt" | "macvtap";

/** A masqueraded interface of the pod, its tap, and what the guest has of it. */
export interface MasqueradeLink {
  readonly interface: PodInterface;
  readonly tap: string;
  readonly guest: PodInterface;
  readonly gateways: readonly PodAddress[];
  /** Of the pod's addresses, those that are the guest's; absent = all that nobody else waits at. */
  readonly ports?: readonly PortRange[];
}

/** What is said of a guest behind its pod's addresses. Plain data: kept as JSON in the pod's document. */
export interface HiddenGuest {
  /** The network between gateway and guest, a CIDR; absent = one by the interface's number. */
  readonly ipv4?: string;
  readonly ipv6?: string;
  readonly ports?: readonly PortRange[];
}

/** Both ends are in it. */
interface PortRange {
  readonly protocol: "tcp" | "udp";
  readonly first: number;
  readonly last: number;
}

/** Marks what a socket of the namespace waits for: that is a container's, not the guest's. */
const OWN = 0x7473;
/** What the guest must ask of its gateway to reach it. */
const NEIGHBOURS = "{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }";

/**
 * The n-th interface as a guest behind its pod's addresses has it: the addresses that KubeVirt gives, a network
 * to each interface; everything goes through the gateway. Kind `invalid` for an interface without addresses.
 */
export function masqueraded(
  pod: PodInterface,
  tap: string,
  index: number,
  { ipv4, ipv6, ports }: HiddenGuest = {},
): MasqueradeLink {
  if (pod.addresses.length === 0) {
    throw new TrineError(
      "invalid",
      `trine.dev/network-binding: ${pod.name} has no address to hide a guest behind: use tap`,
    );
  }
  const has = (family: "ipv4" | "ipv6"): boolean => pod.addresses.some((a) => a.family === family);
  const both: readonly PodAddress[] = [
    cidr("ipv4", ipv4 ?? `10.0.${index + 2}.0/24`),
    cidr("ipv6", ipv6 ?? `fd10:0:${index + 2}::/120`),
  ];
  const networks = both.filter(({ family }) => has(family));
  const host = (number: bigint): PodAddress[] => networks.map((each) => hostOf(each, number));
  const gateways = host(1n);
  const guest = { ...pod, addresses: host(2n), routes: routesThrough(pod, gateways) };
  return {
    interface: pod,
    tap,
    guest,
    gateways,
    ...(ports === undefined ? {} : { ports }),
  };
}

function cidr(family: PodAddress["family"], text: string): PodAddress {
  const [address = "", prefix] = text.split("/", 2);
  return { family, address, prefix: Number(prefix) };
}

/**
 * Kind `invalid` where the network that a guest is to have is one that the pod has addresses in or a route to: the
 * pod would not reach it any more. A default route is none of these.
 */
export function requireFreeNetworks(
  links: readonly MasqueradeLink[],
  interfaces: readonly PodInterface[],
): void {
  const used = interfaces.flatMap(({ name, addresses, routes }) =>
    [...addresses, ...routes.map(({ family, to }) => cidr(family, to))]
      .filter(({ prefix }) => prefix > 0)
      .map((network) => ({ whose: `the pod's ${name}`, network })),
  );
  for (const { interface: pod, gateways } of links) {
    const others = links.filter((other) => other.interface !== pod);
    const hidden = others.flatMap((other) =>
      other.gateways.map((network) => ({
        whose: `what is behind ${other.interface.name}`,
        network,
      })),
    );
    for (const gateway of gateways) {
      const found = [...used, ...OURS, ...NOBODYS, ...hidden].find(({ network }) =>
        overlaps(network, gateway),
      );
      if (found === undefined) continue;
      throw new TrineError(
        "invalid",
        `trine.dev/network-binding: behind ${pod.name} the guest has ${networkOf(gateway)}, which overlaps ` +
          `${networkOf(found.network)} of ${found.whose}: bind ${pod.name} as tap`,
      );
    }
  }
}

/** What the namespace has on the taps: docs/decisions/0002 and 0008. */
const OURS = [cidr("ipv4", "169.254.77.0/24"), cidr("ipv6", `${LOCAL_IPV6}/120`)].map(
  (network) => ({
    whose: "the pod's namespace itself",
    network,
  }),
);

/** What no guest can have for its own, in any pod. */
const NOBODYS = [
  { whose: "hosts without an address", network: cidr("ipv4", "0.0.0.0/8") },
  { whose: "each host's loopback", network: cidr("ipv4", "127.0.0.0/8") },
  { whose: "each link alone", network: cidr("ipv4", "169.254.0.0/16") },
  { whose: "multicast", network: cidr("ipv4", "224.0.0.0/4") },
  { whose: "broadcast", network: cidr("ipv4", "255.255.255.255/32") },
  // And hosts without an address.
  { whose: "each host's loopback", network: cidr("ipv6", "::/127") },
  { whose: "IPv4 within IPv6", network: cidr("ipv6", "::ffff:0:0/96") },
  { whose: "each link alone", network: cidr("ipv6", "fe80::/10") },
  { whose: "multicast", network: cidr("ipv6", "ff00::/8") },
];

/** What the pod reaches through the interface, its own networks included. */
function routesThrough(pod: PodInterface, gateways: readonly PodAddress[]): PodRoute[] {
  const connected = pod.addresses.map((own) => ({ family: own.family, to: networkOf(own) }));
  return gateways.flatMap(({ family, address: via }) => {
    const routes = pod.routes.filter((route) => route.family === family && route.via !== undefined);
    const isDefault = routes.some(({ to }) => to.endsWith("/0"));
    const own = isDefault ? [] : connected.filter((each) => each.family === family);
    return [...own, ...routes].map((route) => ({ ...route, via }));
  });
}

/** Rules of `table inet trine` for these links; none reaches the namespace but what it answers. */
export function masqueradeRules(links: readonly MasqueradeLink[]): string[] {
  if (links.length === 0) return [];
  return [
    "table inet trine_masquerade",
    "delete table inet trine_masquerade",
    "table inet trine_masquerade {",
    "  counter refused { }",
    ...chain("owned", [
      "type filter hook prerouting priority mangle; policy accept;",
      ...links.map(({ interface: pod }) => `iifname "${pod.name}" goto split`),
    ]),
    ...chain("split", [
      // A lookup that finds no socket matches neither.
      `meta l4proto { tcp, udp } socket transparent 0 meta mark set ${OWN}`,
      `meta l4proto { tcp, udp } socket transparent 1 meta mark set ${OWN}`,
    ]),
    ...chain("incoming", [
      "type nat hook prerouting priority dstnat; policy accept;",
      `meta mark ${OWN} accept`,
      ...links.flatMap(translated),
    ]),
    ...chain("outgoing", [
      "type nat hook postrouting priority srcnat; policy accept;",
      ...links.flatMap(hidden),
    ]),
    ...chain("input", [
      "type filter hook input priority 0; policy accept;",
      ...links.flatMap(({ tap }) => [
        `iifname "${tap}" ct state established,related accept`,
        `iifname "${tap}" icmpv6 type ${NEIGHBOURS} accept`,
        `iifname "${tap}" ${REFUSED}`,
      ]),
    ]),
    ...chain("forward", [
      "type filter hook forward priority 0; policy accept;",
      ...links.flatMap(forwarded),
    ]),
    "}",
  ];
}

const REFUSED = 'counter name "refused" drop';
const key = (family: PodAddress["family"]): string => (family === "ipv4" ? "ip" : "ip6");

/** Of what is not the guest's nothing is: the namespace refuses it as it does what nobody waits for. */
function translated({ interface: pod, guest, ports }: MasqueradeLink): string[] {
  const what = ports === undefined ? [""] : portMatches(ports).map((match) => ` ${match}`);
  return guest.addresses.flatMap(({ family, address }) => {
    const own = pod.addresses.filter((each) => each.family === family).map((each) => each.address);
    const ip = key(family);
    const to = `${ip} daddr { ${own.join(", ")} }`;
    return what.map((match) => `iifname "${pod.name}" ${to}${match} dnat ${ip} to ${address}`);
  });
}

function portMatches(ports: readonly PortRange[]): string[] {
  return (["tcp", "udp"] as const).flatMap((protocol) => {
    // Ranges may lie in each other, of which nftables makes no set.
    return ports
      .filter((each) => each.protocol === protocol)
      .map(({ first, last }) => `${protocol} dport ${first}-${last}`);
  });
}

function hidden({ interface: pod, guest }: MasqueradeLink): string[] {
  return guest.addresses.map(
    ({ family, address }) => `oifname "${pod.name}" ${key(family)} saddr ${address} masquerade`,
  );
}

/** Under its own addresses, and through its own interface alone: between its networks the pod is no router. */
function forwarded({ interface: pod, tap, guest }: MasqueradeLink): string[] {
  return [
    ...guest.addresses.map(
      ({ family, address }) =>
        `iifname "${tap}" oifname "${pod.name}" ${key(family)} saddr ${address} accept`,
    ),
    `iifname "${tap}" ${REFUSED}`,
    `oifname "${tap}" iifname != "${pod.name}" ${REFUSED}`,
    `iifname "${pod.name}" oifname != "${tap}" ${REFUSED}`,
    // Who is beside the pod may route to the guest's own address: past the ports that are the guest's.
    `iifname "${pod.name}" ct state new ct status & dnat == 0 ${REFUSED}`,
  ];
}

/**
 * Before the others. The kernel takes no router advertisements and forgets its routes of them where it forwards, but for
 * interfaces with 2 (Linux, ip-sysctl: accept_ra); those that took none go on taking none.
 */
export async function keepAdvertisements(
  run: RunInPod,
  doing: string,
  { interface: pod, guest }: MasqueradeLink,
): Promise<void> {
  if (!guest.addresses.some((a) => a.family === "ipv6")) return;
  const setting = `net/ipv6/conf/${pod.name}/accept_ra`;
  const value = await mustRun(run, doing, ["sysctl", "-en", setting], "");
  if (value.trim() === "1") await mustRun(run, doing, ["sysctl", "-eqw", `${setting}=2`], "");
}

export function masqueradeSettings({ interface: pod, tap, guest }: MasqueradeLink): string[] {
  const ipv6 = guest.addresses.some((a) => a.family === "ipv6");
  return [
    "net/ipv4/ip_forward=1",
    `net/ipv4/conf/${tap}/rp_filter=0`,
    `net/ipv4/conf/${pod.name}/send_redirects=0`,
    ...(ipv6
      ? [
          `net/ipv6/conf/${tap}/disable_ipv6=0`,
          `net/ipv6/conf/${tap}/accept_dad=0`,
          `net/ipv6/conf/${tap}/accept_ra=0`,
          "net/ipv6/conf/all/forwarding=1",
        ]
      : []),
  ];
}

/** For `ip -batch`; `linkLocal` is where port-forward comes from. */
export function masqueradeCommands(
  { tap, gateways }: MasqueradeLink,
  linkLocal: string,
): { ipv4: string; ipv6: string } {
  const add = (family: PodAddress["family"]): string[] =>
    gateways
      .filter((each) => each.family === family)
      .map(({ address, prefix }) => `address replace ${address}/${prefix} dev ${tap}`);
  const ipv4 = [
    `link set dev ${tap} up`,
    `address replace ${linkLocal}/32 dev ${tap} scope link`,
    ...add("ipv4"),
  ];
  const inside = add("ipv6");
  const router = inside.length === 0 ? [] : [`address replace ${STAND_IN_ROUTER}/64 dev ${tap}`];
  const ipv6 = [...inside, ...router].map((line) => `${line} nodad`);
  const text = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join("");
  return { ipv4: text(ipv4), ipv6: text(ipv6) };
}

function chain(name: string, rules: readonly string[]): string[] {
  return [`  chain ${name} {`, ...rules.map((rule) => `    ${rule}`), "  }"];
}
