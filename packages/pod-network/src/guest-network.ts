import type { PodInterface, PodRoute } from "./pod-interface.ts";
import type { DnsConfig } from "./resolv-conf.ts";

/** The pod network namespace's own address on the tap of the n-th interface (docs/decisions/0002). */
export function linkLocalOf(index: number): string {
  return `169.254.77.${index + 1}`;
}

/**
 * The same for IPv6, on the primary one's tap only and only beside ordinary containers (docs/decisions/0008). No link-local
 * address: Linux forwards none, and a guest reaches this one by its default route.
 */
export const LOCAL_IPV6 = "fd10:0:77::1";

/** What the guest calls the namespace's containers by: its IPv4 address where there is one. Undefined without a network. */
export function containersAddress(pod: PodInterface): string | undefined {
  const has = (family: "ipv4" | "ipv6"): boolean => pod.addresses.some((a) => a.family === family);
  if (has("ipv4")) return linkLocalOf(0);
  return has("ipv6") ? LOCAL_IPV6 : undefined;
}

/** RFC 2131 "infinity": the address is the pod's for life. */
const INFINITE_LEASE = 0xffff_ffff;

/** For the seed's network-config. */
export interface GuestNetworkConfig {
  readonly interfaces: readonly {
    /** In the pod; what the guest is asked to call it. */
    readonly name: string;
    readonly mac: string;
    readonly mtu: number;
    /** CIDR. */
    readonly addresses: readonly string[];
    /** CIDR; without `via` on-link. */
    readonly routes: readonly {
      readonly to: string;
      readonly via?: string;
      readonly metric?: number;
    }[];
  }[];
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
}

/** For the shim's ServeDhcp, field for field; without the tap and the host name. */
export interface DhcpOffer {
  readonly clientMac: string;
  readonly address: string;
  readonly prefix: number;
  readonly server: string;
  readonly router: string;
  readonly mtu: number;
  readonly dns: string[];
  readonly search: string[];
  readonly routes: { destination: string; via: string }[];
  readonly leaseSeconds: number;
}

/** What the guest is told of its interfaces, the primary one first. */
export function guestNetwork(pod: readonly PodInterface[], dns: DnsConfig): GuestNetworkConfig {
  return {
    interfaces: pod.map((each, index) => ({
      name: each.name,
      mac: each.mac,
      mtu: each.mtu,
      addresses: each.addresses.map(({ address, prefix }) => `${address}/${prefix}`),
      routes: [
        ...(index === 0 && needsLinkLocal(pod) ? [{ to: `${linkLocalOf(index)}/32` }] : []),
        ...each.routes.map(({ to, via, metric }) => ({
          to,
          ...(via === undefined ? {} : { via }),
          ...(metric === undefined ? {} : { metric }),
        })),
      ],
    })),
    nameservers: dns.nameservers,
    search: dns.search,
  };
}

/** With a default route the primary's answers to its namespace go that way, and are caught on the tap. */
function needsLinkLocal([primary, ...others]: readonly PodInterface[]): boolean {
  if (primary?.addresses.some((a) => a.family === "ipv4") !== true) return false;
  return (
    defaultRouteOf(primary) === undefined ||
    others.some((other) => defaultRouteOf(other) !== undefined)
  );
}

/** What the n-th interface is answered by DHCP; undefined for one without IPv4. */
export function dhcpOffer(pod: PodInterface, index: number, dns: DnsConfig): DhcpOffer | undefined {
  const own = pod.addresses.find((a) => a.family === "ipv4");
  if (own === undefined) return undefined;
  const router = defaultRouteOf(pod);
  const others = pod.routes.filter((route) => route.family === "ipv4" && route !== router);
  return {
    clientMac: pod.mac,
    address: own.address,
    prefix: own.prefix,
    server: linkLocalOf(index),
    router: router?.via ?? "",
    mtu: pod.mtu,
    dns: dns.nameservers.filter((address) => !address.includes(":")),
    search: [...dns.search],
    routes: [
      { destination: `${linkLocalOf(index)}/32`, via: "" },
      ...others
        .filter(({ to }) => to !== `${linkLocalOf(index)}/32`)
        .map(({ to, via }) => ({ destination: to, via: via ?? "" })),
    ],
    leaseSeconds: INFINITE_LEASE,
  };
}

/** The IPv4 default route through a gateway. */
function defaultRouteOf(pod: PodInterface): PodRoute | undefined {
  return pod.routes.find((route) => route.to === "0.0.0.0/0" && route.via !== undefined);
}
