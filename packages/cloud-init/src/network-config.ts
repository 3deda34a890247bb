import { familyOf, isInside, isLinkLocal6, parsePrefix } from "./ip-prefix.ts";
import type { IpPrefix } from "./ip-prefix.ts";
import { jsonAsYaml } from "./json-yaml.ts";
import { quote } from "@trine/base";
import { requireValid } from "./require-valid.ts";
import type { GuestInterface, GuestNetwork, GuestRoute } from "./seed-types.ts";

const MAX = { interfaces: 16, addresses: 64, routes: 256, nameservers: 16, search: 32 };
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
/** Of a network interface in Linux, without what has a meaning elsewhere. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/;
const MAX_METRIC = 0xffff_ffff;
const DOMAIN = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?$/i;
const DEFAULT_ROUTE = { ipv4: "0.0.0.0/0", ipv6: "::/0" };

/** Network configuration, version 2, with static addresses. Kind `invalid` naming the key that is wrong. */
export function networkConfigBytes(network: GuestNetwork): Buffer {
  const { interfaces, nameservers, search } = network;
  requireCount("network.interfaces", interfaces, MAX.interfaces);
  requireCount("network.nameservers", nameservers, MAX.nameservers);
  requireCount("network.search", search, MAX.search);
  nameservers.forEach((server, i) => {
    const isAddress = familyOf(server) !== undefined;
    requireValid(isAddress, `network.nameservers[${i}]`, `${quote(server)} is not an address`);
  });
  search.forEach((domain, i) => {
    requireValid(DOMAIN.test(domain), `network.search[${i}]`, `${quote(domain)} is not a domain`);
  });
  const dns = {
    ...(nameservers.length > 0 && { addresses: nameservers }),
    ...(search.length > 0 && { search }),
  };
  // Names resolve the same on every interface, so the first one carries the servers.
  const ethernets = interfaces.map((nic, i) => [
    `eth${i}`,
    {
      ...ethernet(nic, `network.interfaces[${i}]`),
      ...(i === 0 && Object.keys(dns).length > 0 && { nameservers: dns }),
    },
  ]);
  return jsonAsYaml({ version: 2, ethernets: Object.fromEntries(ethernets) as object });
}

function ethernet(nic: GuestInterface, key: string): object {
  requireValid(MAC.test(nic.mac), `${key}.mac`, `${quote(nic.mac)} is not a MAC address`);
  const { name } = nic;
  const isName = name === undefined || NAME.test(name);
  requireValid(isName, `${key}.name`, `${quote(name ?? "")} is no interface name`);
  const isMtu = Number.isInteger(nic.mtu) && nic.mtu >= 68 && nic.mtu <= 65_535;
  requireValid(isMtu, `${key}.mtu`, `${nic.mtu} is not 68 to 65535`);
  requireCount(`${key}.addresses`, nic.addresses, MAX.addresses);
  requireCount(`${key}.routes`, nic.routes, MAX.routes);
  const addresses = nic.addresses.map((text, i) => parsePrefix(text, `${key}.addresses[${i}]`));
  const routes = nic.routes.map((route, i) => checkedRoute(route, `${key}.routes[${i}]`));
  const gateway6 = plainGateway6(routes, addresses);
  const written = routes
    .filter((r) => r.via !== gateway6 || !isDefault6(r) || r.metric !== undefined)
    .filter((route) => !isImplied(route, routes, addresses))
    .map((route) => writtenRoute(route, addresses));
  return {
    match: { macaddress: nic.mac.toLowerCase() },
    ...(name !== undefined && { "set-name": name }),
    mtu: nic.mtu,
    dhcp4: false,
    dhcp6: false,
    addresses: addresses.map(({ text }) => text),
    ...(gateway6 !== undefined && { gateway6 }),
    ...(written.length > 0 && { routes: written }),
  };
}

interface CheckedRoute {
  readonly to: IpPrefix;
  readonly via: string | undefined;
  readonly metric: number | undefined;
}

function checkedRoute(route: GuestRoute, key: string): CheckedRoute {
  const to = parsePrefix(route.to, `${key}.to`);
  if (route.via !== undefined) {
    const isSameFamily = familyOf(route.via) === to.family;
    requireValid(isSameFamily, `${key}.via`, `${quote(route.via)} is no ${to.family} address`);
  }
  const { metric } = route;
  const isMetric =
    metric === undefined || (Number.isInteger(metric) && metric >= 0 && metric <= MAX_METRIC);
  requireValid(isMetric, `${key}.metric`, `${metric ?? ""} is not 0 to ${MAX_METRIC}`);
  return { to, via: route.via, metric };
}

/**
 * The gateway of a plain default route of IPv6. It gets a key of its own: cloud-init 22 and its neighbours
 * write the route `::/0` as `::/64` for all renderers but netplan.
 */
function plainGateway6(
  routes: readonly CheckedRoute[],
  addresses: readonly IpPrefix[],
): string | undefined {
  const route = routes.find(
    (each) => isDefault6(each) && each.via !== undefined && each.metric === undefined,
  );
  return route?.via !== undefined && !needsOnLink(route.via, addresses) ? route.via : undefined;
}

function isDefault6({ to }: CheckedRoute): boolean {
  return to.family === "ipv6" && to.prefix === 0;
}

/**
 * A link route says nothing new when its destination is in an address's own network, or is a gateway that
 * is marked on-link. Leaving it out matters: cloud-init's ifupdown renderer fails on routes without
 * a gateway, and with it the guest's whole network.
 */
function isImplied(
  route: CheckedRoute,
  routes: readonly CheckedRoute[],
  addresses: readonly IpPrefix[],
): boolean {
  if (route.via !== undefined) return false;
  const { to } = route;
  const isConnected = addresses.some(
    (own) => own.family === to.family && own.prefix <= to.prefix && isInside(to.address, [own]),
  );
  const isGateway =
    isHost(to) && routes.some(({ via }) => via !== undefined && isInside(via, [to]));
  return isConnected || isGateway;
}

function writtenRoute(route: CheckedRoute, addresses: readonly IpPrefix[]): object {
  // The word `default` is younger than many guests' cloud-init.
  const to = route.to.prefix === 0 ? DEFAULT_ROUTE[route.to.family] : route.to.text;
  // A host on the link can be its own gateway, which every renderer takes. A network cannot.
  const via = route.via ?? (isHost(route.to) ? route.to.address : undefined);
  const metric = route.metric === undefined ? {} : { metric: route.metric };
  if (via === undefined) return { to, scope: "link", ...metric };
  return { to, via, ...(needsOnLink(via, addresses) && { "on-link": true }), ...metric };
}

function isHost(to: IpPrefix): boolean {
  return to.prefix === (to.family === "ipv4" ? 32 : 128);
}

function needsOnLink(via: string, addresses: readonly IpPrefix[]): boolean {
  return !isLinkLocal6(via) && !isInside(via, addresses);
}

function requireCount(key: string, list: readonly unknown[], max: number): void {
  requireValid(list.length <= max, key, `${list.length} entries; the limit is ${max}`);
}
