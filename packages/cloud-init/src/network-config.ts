import { checkNetwork, isHost, needsOnLink } from "./checked-network.ts";
import type { CheckedInterface, CheckedRoute } from "./checked-network.ts";
import type { IpPrefix } from "./ip-prefix.ts";
import { jsonAsYaml } from "./json-yaml.ts";
import type { GuestNetwork } from "./seed-types.ts";

const DEFAULT_ROUTE = { ipv4: "0.0.0.0/0", ipv6: "::/0" };

/** Network configuration, version 2, with static addresses. Kind `invalid` naming the key that is wrong. */
export function networkConfigBytes(network: GuestNetwork): Buffer {
  const { interfaces, nameservers, search } = checkNetwork(network);
  const dns = {
    ...(nameservers.length > 0 && { addresses: nameservers }),
    ...(search.length > 0 && { search }),
  };
  // Names resolve the same on every interface, so the first one carries the servers.
  const ethernets = interfaces.map((nic, i) => [
    `eth${i}`,
    {
      ...ethernet(nic),
      ...(i === 0 && Object.keys(dns).length > 0 && { nameservers: dns }),
    },
  ]);
  return jsonAsYaml({ version: 2, ethernets: Object.fromEntries(ethernets) as object });
}

function ethernet({ name, mac, mtu, addresses, routes }: CheckedInterface): object {
  const gateway6 = plainGateway6(routes, addresses);
  const written = routes
    .filter((r) => r.via !== gateway6 || !isDefault6(r) || r.metric !== undefined)
    .map((route) => writtenRoute(route, addresses));
  return {
    match: { macaddress: mac },
    ...(name !== undefined && { "set-name": name }),
    mtu,
    dhcp4: false,
    dhcp6: false,
    addresses: addresses.map(({ text }) => text),
    ...(gateway6 !== undefined && { gateway6 }),
    ...(written.length > 0 && { routes: written }),
  };
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

function writtenRoute(route: CheckedRoute, addresses: readonly IpPrefix[]): object {
  // The word `default` is younger than many guests' cloud-init.
  const to = route.to.prefix === 0 ? DEFAULT_ROUTE[route.to.family] : route.to.text;
  // A host on the link can be its own gateway, which every renderer takes. A network cannot.
  const via = route.via ?? (isHost(route.to) ? route.to.address : undefined);
  const metric = route.metric === undefined ? {} : { metric: route.metric };
  if (via === undefined) return { to, scope: "link", ...metric };
  return { to, via, ...(needsOnLink(via, addresses) && { "on-link": true }), ...metric };
}
