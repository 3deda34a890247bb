import type { PodInterface, PodRoute } from "./pod-interface.ts";
import type { DnsConfig } from "./resolv-conf.ts";

/** The pod network namespace's own address on the tap (docs/decisions/0002). */
export const LINK_LOCAL = "169.254.77.1";
/** RFC 2131 "infinity": the address is the pod's for life. */
const INFINITE_LEASE = 0xffff_ffff;

/** For the seed's network-config. */
export interface GuestNetworkConfig {
  readonly interfaces: readonly {
    readonly mac: string;
    readonly mtu: number;
    /** CIDR. */
    readonly addresses: readonly string[];
    /** CIDR; without `via` on-link. */
    readonly routes: readonly { readonly to: string; readonly via?: string }[];
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

/** What the guest is told, in both ways; `dhcp` is undefined for a pod without IPv4. */
export function guestNetwork(
  pod: PodInterface,
  dns: DnsConfig,
): { cloudInit: GuestNetworkConfig; dhcp: DhcpOffer | undefined } {
  return { cloudInit: cloudInitConfig(pod, dns), dhcp: dhcpOffer(pod, dns) };
}

function cloudInitConfig(pod: PodInterface, dns: DnsConfig): GuestNetworkConfig {
  const routes = pod.routes.map(({ to, via }) => (via === undefined ? { to } : { to, via }));
  // With a default route the answers to LINK_LOCAL go that way, and are caught on the tap.
  const needsLinkLocal = hasIpv4(pod) && defaultRouteOf(pod) === undefined;
  return {
    interfaces: [
      {
        mac: pod.mac,
        mtu: pod.mtu,
        addresses: pod.addresses.map(({ address, prefix }) => `${address}/${prefix}`),
        routes: needsLinkLocal ? [{ to: `${LINK_LOCAL}/32` }, ...routes] : routes,
      },
    ],
    nameservers: dns.nameservers,
    search: dns.search,
  };
}

function dhcpOffer(pod: PodInterface, dns: DnsConfig): DhcpOffer | undefined {
  const own = pod.addresses.find((a) => a.family === "ipv4");
  if (own === undefined) return undefined;
  const router = defaultRouteOf(pod);
  const others = pod.routes.filter((route) => route.family === "ipv4" && route !== router);
  return {
    clientMac: pod.mac,
    address: own.address,
    prefix: own.prefix,
    server: LINK_LOCAL,
    router: router?.via ?? "",
    mtu: pod.mtu,
    dns: dns.nameservers.filter((address) => !address.includes(":")),
    search: [...dns.search],
    routes: [
      { destination: `${LINK_LOCAL}/32`, via: "" },
      ...others.map(({ to, via }) => ({ destination: to, via: via ?? "" })),
    ],
    leaseSeconds: INFINITE_LEASE,
  };
}

function hasIpv4(pod: PodInterface): boolean {
  return pod.addresses.some((a) => a.family === "ipv4");
}

/** The IPv4 default route through a gateway. */
function defaultRouteOf(pod: PodInterface): PodRoute | undefined {
  return pod.routes.find((route) => route.to === "0.0.0.0/0" && route.via !== undefined);
}
