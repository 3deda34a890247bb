import { quote } from "@trine/base";
import { familyOf, isInside, isLinkLocal6, parsePrefix } from "./ip-prefix.ts";
import type { IpPrefix } from "./ip-prefix.ts";
import { requireValid } from "./require-valid.ts";
import type { GuestInterface, GuestNetwork, GuestRoute } from "./seed-types.ts";

const MAX = { interfaces: 16, addresses: 64, routes: 256, nameservers: 16, search: 32 };
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
/** Of a network interface in Linux, without what has a meaning elsewhere. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/;
const MAX_METRIC = 0xffff_ffff;
const DOMAIN = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?$/i;

/** A network that a guest can have, in no format's terms. */
interface CheckedNetwork {
  readonly interfaces: readonly CheckedInterface[];
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
}

export interface CheckedInterface {
  readonly name: string | undefined;
  readonly mac: string;
  readonly mtu: number;
  readonly addresses: readonly IpPrefix[];
  /** Without those that the addresses or other routes imply. */
  readonly routes: readonly CheckedRoute[];
}

export interface CheckedRoute {
  readonly to: IpPrefix;
  readonly via: string | undefined;
  readonly metric: number | undefined;
}

/** Kind `invalid` naming the key that is wrong. */
export function checkNetwork(network: GuestNetwork): CheckedNetwork {
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
  return {
    interfaces: interfaces.map((nic, i) => checkInterface(nic, `network.interfaces[${i}]`)),
    ...{ nameservers, search },
  };
}

function checkInterface(nic: GuestInterface, key: string): CheckedInterface {
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
  return {
    ...{ name, mac: nic.mac.toLowerCase(), mtu: nic.mtu, addresses },
    routes: routes.filter((route) => !isImplied(route, routes, addresses)),
  };
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

export function isHost(to: IpPrefix): boolean {
  return to.prefix === (to.family === "ipv4" ? 32 : 128);
}

/** Whether a gateway is in none of the interface's own networks. */
export function needsOnLink(via: string, addresses: readonly IpPrefix[]): boolean {
  return !isLinkLocal6(via) && !isInside(via, addresses);
}

function requireCount(key: string, list: readonly unknown[], max: number): void {
  requireValid(list.length <= max, key, `${list.length} entries; the limit is ${max}`);
}
