import { linkLocalOf } from "./guest-network.ts";
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
  const { interface: pod, tap, forwardPort: port } = input;
  const own = `{ ${ipv4Of(pod).join(", ")} }`;
  const taps = `{ ${input.taps.map((each) => `"${each}"`).join(", ")} }`;
  return [
    "flush chain netdev trine to_guest0",
    "table netdev trine {",
    ...chain("to_guest0", [
      // Both ask for their gateway's address; both may answer for the pod's, with the same MAC.
      `ether type arp dup to "${tap}"`,
      "ether type arp accept",
      // Who sent the echo request is not known here.
      `ip daddr ${own} icmp type echo-reply dup to "${tap}"`,
      `ip daddr ${own} accept`,
      `fwd to "${tap}"`,
    ]),
    "}",
    "table inet trine_shared",
    "delete table inet trine_shared",
    "table inet trine_shared {",
    ...chain("incoming", [
      // Before connection tracking, which would see one direction only.
      "type filter hook prerouting priority -300; policy accept;",
      `iifname "${pod.name}" ip daddr ${own} goto split`,
    ]),
    ...chain("split", [
      "icmp type echo-reply accept",
      ...portRules(input.ports?.containers ?? [], "accept"),
      ...portRules(input.ports?.machine ?? [], TAKEN_BY_MACHINE),
      ...SOCKET_WAITS.map((waits) => `meta l4proto { tcp, udp, icmp } ${waits} accept`),
      TAKEN_BY_MACHINE,
    ]),
    ...chain("localhost", [
      "type filter hook prerouting priority -150; policy accept;",
      'iifname "lo" meta l4proto tcp goto localhost_tcp',
    ]),
    ...chain("localhost_tcp", [
      ...SOCKET_WAITS.map((waits) => `${waits} accept`),
      `meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:${port} accept`,
      `ip6 daddr ::1 meta l4proto tcp tproxy ip6 to [::1]:${port} accept`,
    ]),
    "}",
    "flush chain inet trine input",
    "table inet trine {",
    // Where it would catch what is for a container; `localhost` above does that work.
    ...chain("output", []),
    ...chain("input", [
      `iifname ${taps} ct state established,related accept`,
      `iifname "${tap}" ip daddr ${linkLocalOf(0)} accept`,
      `iifname ${taps} counter name "refused" drop`,
      ...input.carriers.map((name) => `iifname "${name}" drop`),
    ]),
    "}",
    "flush chain inet trine output",
    "",
  ].join("\n");
}

/** Matches when there is a socket for the packet, of either kind. */
const SOCKET_WAITS = ["socket transparent 0", "socket transparent 1"];

const TAKEN_BY_MACHINE = `meta mark set ${TO_MACHINE} notrack accept`;

function portRules(ports: readonly OwnPort[], verdict: string): string[] {
  return ports.map(({ protocol, port }) => `${protocol} dport ${port} ${verdict}`);
}

function ipv4Of(pod: PodInterface): string[] {
  return pod.addresses.filter(({ family }) => family === "ipv4").map(({ address }) => address);
}

function chain(name: string, rules: readonly string[]): string[] {
  return [`  chain ${name} {`, ...rules.map((rule) => `    ${rule}`), "  }"];
}
