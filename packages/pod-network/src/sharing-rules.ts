import { LOCAL_IPV6, linkLocalOf } from "./guest-network.ts";
import type { PodInterface } from "./pod-interface.ts";

/** Routing table and packet mark of what goes to the machine. */
export const TO_MACHINE = 0x7472;

export interface SharingInput {
  /** The pod's primary interface, and the guest's tap for it. */
  readonly interface: PodInterface;
  readonly tap: string;
  /** All of the guest's taps that `forwardingRules` joined, that one among them. */
  readonly taps: readonly string[];
  /** The pod's interfaces whose frames the kernel itself carries, by a macvtap: nothing of theirs is the namespace's. */
  readonly carriers: readonly string[];
  /** Where the shim's forwarder listens on 127.0.0.1 and ::1. */
  readonly forwardPort: number;
  /** Ports that belong to one side whoever listens. */
  readonly ports?: {
    readonly machine: readonly OwnPort[];
    readonly containers: readonly OwnPort[];
  };
}

interface OwnPort {
  readonly protocol: "tcp" | "udp";
  readonly port: number;
}

/**
 * What `shareAddress` changes in the rules of `forwardingRules`, in one transaction; again the same.
 *
 * Whose a packet is that comes in says the kernel's own table of sockets: one that waits for it (a listener, or a
 * connection's end) is a container's. So no port is declared, and a container's port is its own from the moment it
 * listens. Only what comes in passes here; what the guest sends goes out as before.
 */
export function sharingRules(input: SharingInput): string {
  const { interface: pod, tap } = input;
  const taps = `{ ${input.taps.map((each) => `"${each}"`).join(", ")} }`;
  const ipv4 = ownOf(pod, "ipv4");
  const ipv6 = ownOf(pod, "ipv6");
  return [
    "flush chain netdev trine to_guest0",
    "table netdev trine {",
    ...chain("to_guest0", [
      ...(ipv4 === undefined ? [] : ipv4Frames(tap, ipv4)),
      ...(ipv6 === undefined ? [] : ipv6Frames(tap, ipv6)),
      `fwd to "${tap}"`,
    ]),
    "}",
    "table inet trine_shared",
    "delete table inet trine_shared",
    "table inet trine_shared {",
    ...chain("incoming", [
      // Before connection tracking, which would see one direction only.
      "type filter hook prerouting priority -300; policy accept;",
      ...(ipv4 === undefined ? [] : [`iifname "${pod.name}" ip daddr ${ipv4} goto split`]),
      ...(ipv6 === undefined ? [] : [`iifname "${pod.name}" ip6 daddr ${ipv6} goto split`]),
    ]),
    ...chain("split", [
      "icmp type echo-reply accept",
      "icmpv6 type { echo-reply, nd-neighbor-solicit, nd-neighbor-advert } accept",
      ...portRules(input.ports?.containers ?? [], "accept"),
      ...portRules(input.ports?.machine ?? [], TAKEN_BY_MACHINE),
      ...SOCKET_WAITS.map((waits) => `meta l4proto { tcp, udp, icmp, ipv6-icmp } ${waits} accept`),
      TAKEN_BY_MACHINE,
    ]),
    ...chain("localhost", [
      "type filter hook prerouting priority -150; policy accept;",
      'iifname "lo" meta l4proto tcp goto localhost_tcp',
    ]),
    ...chain("localhost_tcp", localhostRules(input)),
    "}",
    "flush chain inet trine input",
    "table inet trine {",
    // Where it would catch what is for a container; `localhost` above does that work.
    ...chain("output", []),
    ...chain("input", [
      `iifname ${taps} ct state established,related accept`,
      `iifname "${tap}" ip daddr ${linkLocalOf(0)} accept`,
      `iifname "${tap}" ip6 daddr ${LOCAL_IPV6} accept`,
      `iifname ${taps} counter name "refused" drop`,
      ...input.carriers.map((name) => `iifname "${name}" drop`),
    ]),
    "}",
    "flush chain inet trine output",
    "",
  ].join("\n");
}

function ipv4Frames(tap: string, own: string): string[] {
  return [
    // Both ask for their gateway's address; both may answer for the pod's, with the same MAC.
    `ether type arp dup to "${tap}"`,
    "ether type arp accept",
    // Who sent the echo request is not known here.
    `ip daddr ${own} icmp type echo-reply dup to "${tap}"`,
    `ip daddr ${own} accept`,
  ];
}

function ipv6Frames(tap: string, own: string): string[] {
  const forBoth = "{ nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query }";
  return [
    // Whoever looks whether the address is free may be the guest, whose frame a switch has sent back: it alone may answer.
    `ip6 saddr :: fwd to "${tap}"`,
    `icmpv6 type ${forBoth} dup to "${tap}"`,
    `icmpv6 type ${forBoth} accept`,
    `ip6 daddr ${own} icmpv6 type echo-reply dup to "${tap}"`,
    // Linux forwards nothing that a link-local address has sent.
    `ip6 saddr fe80::/10 ip6 daddr ${own} icmpv6 type echo-reply accept`,
    `ip6 saddr fe80::/10 fwd to "${tap}"`,
    `ip6 daddr ${own} accept`,
  ];
}

function localhostRules({ interface: pod, forwardPort: port }: SharingInput): string[] {
  const localhost = ["::1", ...addressesOf(pod, "ipv6")].join(", ");
  return [
    ...SOCKET_WAITS.map((waits) => `${waits} accept`),
    `meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:${port} accept`,
    `ip6 daddr { ${localhost} } meta l4proto tcp tproxy ip6 to [::1]:${port} accept`,
  ];
}

/** Matches when there is a socket for the packet, of either kind. */
const SOCKET_WAITS = ["socket transparent 0", "socket transparent 1"];

const TAKEN_BY_MACHINE = `meta mark set ${TO_MACHINE} notrack accept`;

function portRules(ports: readonly OwnPort[], verdict: string): string[] {
  return ports.map(({ protocol, port }) => `${protocol} dport ${port} ${verdict}`);
}

/** The pod's addresses of a family, as a set of nftables; undefined without one. */
function ownOf(pod: PodInterface, family: "ipv4" | "ipv6"): string | undefined {
  const own = addressesOf(pod, family);
  return own.length === 0 ? undefined : `{ ${own.join(", ")} }`;
}

function addressesOf(pod: PodInterface, family: "ipv4" | "ipv6"): string[] {
  return pod.addresses.filter((a) => a.family === family).map(({ address }) => address);
}

function chain(name: string, rules: readonly string[]): string[] {
  return [`  chain ${name} {`, ...rules.map((rule) => `    ${rule}`), "  }"];
}
