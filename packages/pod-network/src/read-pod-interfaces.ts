import { BlockList, isIP } from "node:net";
import { TrineError } from "@trine/base";
import { parseIpBatch, parseLink, parseRoute } from "./ip-json.ts";
import type { IpLink, IpRoute } from "./ip-json.ts";
import type { PodAddress, PodInterface, PodRoute } from "./pod-interface.ts";
import { mustRun } from "./run-command.ts";
import type { RunInPod } from "./run-command.ts";

const MAX_ROUTES = 64;
/** What the VMM has places for. */
const MAX_INTERFACES = 8;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;
const DEFAULT = { ipv4: "0.0.0.0/0", ipv6: "::/0" } as const;
/** What the kernel gives an IPv6 route that names none. */
const IPV6_METRIC = 1024;

/**
 * The pod's interfaces as CNI (and Multus) left them, the primary one first; `ours` are names of links that
 * are not CNI's. To be read before `connectTaps`, which takes the routes away. Kind `unimplemented` for what
 * a guest cannot be given.
 */
export async function readPodInterfaces(
  run: RunInPod,
  ours: readonly string[] = [],
): Promise<PodInterface[]> {
  const commands = "address show\nroute show table all\n";
  const argv = ["ip", "-j", "-batch", "-"];
  const stdout = await mustRun(run, "read the pod's interfaces", argv, commands);
  const [links = [], routes = []] = parseIpBatch(stdout, 2);
  const usable = usableLinks(links.map(parseLink), ours);
  usable.forEach(refuseUnusable);
  return usable.map((link) => podInterface(link, routes.map(parseRoute)));
}

/**
 * The kernel puts tunnels of its own into every namespace: they are down. An interface that is up and has no
 * address is a second network's without address management.
 */
function usableLinks(all: readonly IpLink[], ours: readonly string[]): IpLink[] {
  const links = all.filter(
    (link) =>
      link.linkType !== "loopback" &&
      !link.isPort &&
      !ours.includes(link.name) &&
      (globalAddresses(link).length > 0 || (link.isUp && link.linkType === "ether")),
  );
  if (links.length > MAX_INTERFACES) {
    throw new TrineError(
      "unimplemented",
      `the pod has ${links.length} interfaces; a guest can be given ${MAX_INTERFACES}`,
    );
  }
  const primary = primaryOf(links);
  return [...links.filter((link) => link === primary), ...links.filter((link) => link !== primary)];
}

/** eth0, which every CRI calls the pod's first interface, else the first with a global address. */
function primaryOf(links: readonly IpLink[]): IpLink | undefined {
  const addressed = links.filter((link) => globalAddresses(link).length > 0);
  return addressed.find(({ name }) => name === "eth0") ?? addressed[0] ?? links[0];
}

function podInterface(link: IpLink, routes: readonly IpRoute[]): PodInterface {
  const own = routes.filter(
    (route) => route.device === link.name && route.table === "main" && route.type === "unicast",
  );
  const addresses = globalAddresses(link).map((a) => asSeenOnLink(a, own));
  return {
    name: link.name,
    mac: link.mac,
    mtu: Math.min(link.mtu, ...own.filter((r) => r.to === "default").map((r) => r.mtu ?? link.mtu)),
    addresses,
    routes: guestRoutes(link.name, own, addresses),
  };
}

function refuseUnusable(link: IpLink): void {
  if (link.linkType !== "ether" || !MAC.test(link.mac) || !NAME.test(link.name)) {
    throw new TrineError(
      "unimplemented",
      `pod interface ${JSON.stringify(link.name)}: of type ${JSON.stringify(link.linkType)}; a machine needs an Ethernet interface from CNI`,
    );
  }
}

function globalAddresses(link: IpLink): PodAddress[] {
  return link.addresses
    .filter(({ local, scope }) => scope === "global" && isIP(local) !== 0)
    .map(({ local, prefix }) => ({
      family: isIP(local) === 6 ? "ipv6" : "ipv4",
      address: local,
      prefix,
    }));
}

/** A subnet without its on-link route is not on the link, whatever the address says. */
function asSeenOnLink(address: PodAddress, routes: readonly IpRoute[]): PodAddress {
  const connected = routes.some(
    (route) => route.kernel && route.gateway === undefined && holds(cidr(route), address.address),
  );
  return connected ? address : { ...address, prefix: address.family === "ipv6" ? 128 : 32 };
}

function guestRoutes(
  name: string,
  own: readonly IpRoute[],
  addresses: readonly PodAddress[],
): PodRoute[] {
  const wanted = own.filter((route) => !isConnected(route, addresses));
  if (wanted.length > MAX_ROUTES) {
    throw new TrineError(
      "unimplemented",
      `pod interface ${name}: CNI set ${wanted.length} routes; a guest can be given ${MAX_ROUTES}`,
    );
  }
  const routes = new Map<string, PodRoute>();
  for (const route of wanted) {
    if (route.foreignGateway) {
      throw new TrineError(
        "unimplemented",
        `pod interface ${name}: route ${route.to} goes through a gateway of the other IP version, which a guest cannot be told`,
      );
    }
    // ip prints the lowest metric first; a second route to the same place is a spare.
    const to = cidr(route);
    if (!routes.has(to)) routes.set(to, podRoute(route, to));
  }
  const all = [...routes.values()];
  return [...all.filter((r) => r.via === undefined), ...all.filter((r) => r.via !== undefined)];
}

function podRoute({ ipv6, gateway, metric }: IpRoute, to: string): PodRoute {
  const isUsual = metric === (ipv6 ? IPV6_METRIC : 0) || metric === 0;
  return {
    family: ipv6 ? "ipv6" : "ipv4",
    to,
    ...(gateway === undefined ? {} : { via: gateway }),
    ...(isUsual ? {} : { metric }),
  };
}

/** What the guest's kernel makes by itself: routes of its addresses, link-local and multicast ones. */
function isConnected(route: IpRoute, addresses: readonly PodAddress[]): boolean {
  if (route.to.startsWith("fe80:") || route.to.startsWith("ff00:")) return true;
  return (
    route.kernel &&
    route.gateway === undefined &&
    addresses.some(({ address }) => holds(cidr(route), address))
  );
}

function cidr(route: IpRoute): string {
  if (route.to === "default") return DEFAULT[route.ipv6 ? "ipv6" : "ipv4"];
  return route.to.includes("/") ? route.to : `${route.to}/${route.ipv6 ? 128 : 32}`;
}

function holds(subnet: string, address: string): boolean {
  const [network = "", prefix = ""] = subnet.split("/");
  if (isIP(network) !== isIP(address)) return false;
  const family = isIP(network) === 6 ? "ipv6" : "ipv4";
  const list = new BlockList();
  list.addSubnet(network, Number(prefix), family);
  return list.check(address, family);
}
