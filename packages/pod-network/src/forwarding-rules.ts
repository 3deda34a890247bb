import { LOCAL_IPV6 } from "./guest-network.ts";
import { hexOf } from "./ip-bits.ts";
import type { PodInterface } from "./pod-interface.ts";

/** An interface of the pod and the tap that stands for it towards the guest. */
export interface TapLink {
  readonly interface: PodInterface;
  readonly tap: string;
  /** The namespace's own IPv4 address on the tap. */
  readonly linkLocal: string;
  /** The kernel itself carries the frames, by a macvtap of this name; `tap` is the namespace's own link beside it. */
  readonly macvtap?: string;
}

export interface ForwardingInput {
  readonly links: readonly TapLink[];
  /** Where the shim's forwarder listens on 127.0.0.1 and ::1; absent = no port-forward. */
  readonly forwardPort?: number;
}

/**
 * nftables rules that join each tap to its pod's interface (docs/decisions/0002). One transaction, and
 * the same again replaces itself. Between the two nothing reaches the namespace's own stack but what
 * is addressed to `linkLocal`.
 *
 * Rules accept and end in a drop, never the other way round: a `!=` on a field that a frame does not
 * have would not match, and let the frame through.
 */
export function forwardingRules(input: ForwardingInput): string {
  return [
    "table netdev trine",
    "delete table netdev trine",
    "table netdev trine {",
    "  counter spoofed { }",
    "  counter refused { }",
    ...input.links.flatMap(linkChains),
    "}",
    ...localRules(input),
    "",
  ].join("\n");
}

function linkChains(link: TapLink, index: number): string[] {
  const { interface: pod, tap } = link;
  const from = `from_guest${index}`;
  // An interface without addresses carries protocols of its own, of which only the MAC can be looked at.
  const isOpaque = pod.addresses.length === 0;
  if (link.macvtap !== undefined) return macvtapChains(link, index);
  return [
    ...chain(`to_guest${index}`, [
      `type filter hook ingress device "${pod.name}" priority 0; policy drop;`,
      `fwd to "${tap}"`,
    ]),
    ...(isOpaque
      ? []
      : [
          ...chain(`${from}_arp`, arpRules(link)),
          ...chain(`${from}_ip`, ipv4Rules(link)),
          ...chain(`${from}_ip6`, ipv6Rules(link)),
        ]),
    ...chain(from, [
      `type filter hook ingress device "${tap}" priority 0; policy drop;`,
      `ether saddr != ${pod.mac} ${SPOOFED}`,
      ...(isOpaque
        ? [`fwd to "${pod.name}"`]
        : [
            `ether type arp goto ${from}_arp`,
            `ether type ip goto ${from}_ip`,
            `ether type ip6 goto ${from}_ip6`,
            REFUSED,
          ]),
    ]),
  ];
}

/**
 * What the guest sends is looked at where it leaves the pod's interface, which nothing else of the namespace may use; to
 * the namespace's own link it comes beside that. Needs Linux 5.16 (egress hooks).
 */
function macvtapChains(link: TapLink, index: number): string[] {
  const { interface: pod, tap, linkLocal } = link;
  const from = `from_guest${index}`;
  const isOpaque = pod.addresses.length === 0;
  const own = addressesOf(pod, "ipv4");
  const local =
    own.length === 0 ? [] : [`arp daddr ip ${linkLocal} drop`, `ip daddr ${linkLocal} drop`];
  const rules = [arpRules(link), ipv4Rules(link), ipv6Rules(link)].map((each) =>
    each
      .filter((rule) => !rule.includes("pkttype"))
      .map((rule) => rule.replace(/fwd to .*/, "accept")),
  );
  const [arp = [], ip = [], ip6 = []] = isOpaque ? [] : rules;
  return [
    ...(isOpaque
      ? []
      : [...chain(`${from}_arp`, arp), ...chain(`${from}_ip`, ip), ...chain(`${from}_ip6`, ip6)]),
    ...chain(from, [
      `type filter hook egress device "${pod.name}" priority 0; policy drop;`,
      `ether saddr != ${pod.mac} ${SPOOFED}`,
      ...(isOpaque
        ? ["accept"]
        : [
            ...local,
            `ether type arp goto ${from}_arp`,
            `ether type ip goto ${from}_ip`,
            `ether type ip6 goto ${from}_ip6`,
            REFUSED,
          ]),
    ]),
    ...chain(`beside_guest${index}`, [
      `type filter hook ingress device "${tap}" priority 0; policy drop;`,
      ...(own.length === 0
        ? []
        : [
            `ether saddr ${pod.mac} arp saddr ip ${set(own)} arp daddr ip ${linkLocal} accept`,
            `ether saddr ${pod.mac} ip saddr ${set(own)} ip daddr ${linkLocal} accept`,
          ]),
    ]),
  ];
}

const SPOOFED = 'counter name "spoofed" drop';
const REFUSED = 'counter name "refused" drop';

function arpRules({ interface: pod, linkLocal }: TapLink): string[] {
  const own = addressesOf(pod, "ipv4");
  // 0.0.0.0 is the sender of a probe for an address in use (RFC 5227).
  const sender = `arp saddr ether ${pod.mac} arp saddr ip ${set(["0.0.0.0", ...own])}`;
  return [
    ...(own.length === 0
      ? []
      : [`${sender} arp daddr ip ${linkLocal} meta pkttype set host accept`]),
    ...(own.length === 0 ? [] : [`${sender} fwd to "${pod.name}"`]),
    own.length === 0 ? REFUSED : SPOOFED,
  ];
}

function ipv4Rules({ interface: pod, linkLocal }: TapLink): string[] {
  const own = addressesOf(pod, "ipv4");
  // The shim answers DHCP from a packet socket, which has seen the frame before this hook.
  if (own.length === 0) return ["udp dport 67 drop", REFUSED];
  const sender = `ip saddr ${set(own)}`;
  return [
    "udp dport 67 drop",
    `udp sport 67 ${REFUSED}`,
    // The guest sends here through its gateway's MAC as well: that frame is for another host.
    `${sender} ip daddr ${linkLocal} meta pkttype set host accept`,
    `${sender} fwd to "${pod.name}"`,
    SPOOFED,
  ];
}

function ipv6Rules({ interface: pod }: TapLink): string[] {
  const own = addressesOf(pod, "ipv6");
  if (own.length === 0) return [REFUSED];
  const starting =
    "{ nd-neighbor-solicit, nd-router-solicit, mld-listener-report, mld2-listener-report }";
  return [
    // Answered by the shim, as with IPv4.
    "udp dport 547 drop",
    `icmpv6 type { nd-router-advert, nd-redirect } ${REFUSED}`,
    `udp sport 547 ${REFUSED}`,
    // Sent to its gateway's MAC, as with IPv4. The namespace has the address beside ordinary containers only.
    `ip6 saddr ${set(own)} ip6 daddr ${LOCAL_IPV6} meta pkttype set host accept`,
    `ip6 daddr ${LOCAL_IPV6} ${SPOOFED}`,
    // An advertisement's target is at 8 bytes; nft before 1.0.7 has no name for it. fe80::/10 is its own.
    `icmpv6 type nd-neighbor-advert @th,64,128 != ${set(own.map(hexOf))} @th,64,10 != 0x3fa ${SPOOFED}`,
    `ip6 saddr ${set([...own, "fe80::/10"])} fwd to "${pod.name}"`,
    `ip6 saddr :: icmpv6 type ${starting} fwd to "${pod.name}"`,
    SPOOFED,
  ];
}

/** The namespace's own stack: the guest may answer it, not call it; localhost goes to the forwarder. */
function localRules({ links, forwardPort: port }: ForwardingInput): string[] {
  const taps = set(links.map(({ tap }) => `"${tap}"`));
  // The kernel has given the guest its copy by then.
  const carriers = links.filter(({ macvtap }) => macvtap !== undefined);
  return [
    "table inet trine",
    "delete table inet trine",
    "table inet trine {",
    "  counter refused { }",
    ...chain("input", [
      "type filter hook input priority 0; policy accept;",
      ...(links.length === 0
        ? []
        : [`iifname ${taps} ct state established,related accept`, `iifname ${taps} ${REFUSED}`]),
      ...carriers.map(({ interface: pod }) => `iifname "${pod.name}" drop`),
    ]),
    ...(port === undefined
      ? []
      : chain("output", [
          "type nat hook output priority -100;",
          `oifname "lo" ip daddr 127.0.0.0/8 tcp dport != ${port} redirect to :${port}`,
          `oifname "lo" ip6 daddr ::1 tcp dport != ${port} redirect to :${port}`,
        ])),
    "}",
  ];
}

function chain(name: string, rules: readonly string[]): string[] {
  return [`  chain ${name} {`, ...rules.map((rule) => `    ${rule}`), "  }"];
}

function addressesOf(pod: PodInterface, family: "ipv4" | "ipv6"): string[] {
  return pod.addresses.filter((a) => a.family === family).map((a) => a.address);
}

const set = (items: readonly string[]): string => `{ ${items.join(", ")} }`;
