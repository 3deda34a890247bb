import { quote } from "@trine/base";
import { needsOnLink } from "./checked-network.ts";
import type { CheckedInterface, CheckedRoute } from "./checked-network.ts";
import type { IpPrefix } from "./ip-prefix.ts";
import { requireValid } from "./require-valid.ts";

/** An interface's part of one family, for formats that know no route without a gateway in the interface's own network. */
export type PlainSubnets =
  | { readonly kind: "dhcp4" }
  | {
      readonly kind: "static";
      readonly addresses: readonly IpPrefix[];
      readonly routes: readonly (CheckedRoute & { readonly via: string })[];
    };

/**
 * IPv4 and IPv6 of an interface, each undefined when it has none. What such a format cannot say of IPv4 is left to DHCP,
 * which is always answered, with all routes; of IPv6 it is of kind `invalid`.
 */
export function plainSubnets(nic: CheckedInterface): readonly PlainSubnets[] {
  return (["ipv4", "ipv6"] as const).flatMap((family): PlainSubnets[] => {
    const addresses = nic.addresses.filter((each) => each.family === family);
    if (addresses.length === 0) return [];
    const all = nic.routes.filter(({ to }) => to.family === family);
    const routes = all.flatMap(({ via, ...rest }) => {
      return via === undefined || needsOnLink(via, addresses) ? [] : [{ ...rest, via }];
    });
    if (routes.length === all.length) return [{ kind: "static", addresses, routes }];
    const odd = all.find(({ via }) => via === undefined || needsOnLink(via, addresses));
    const why = `the route to ${quote(odd?.to.text ?? "")} needs version 2 of NoCloud's network configuration`;
    requireValid(family === "ipv4", "network", why);
    return [{ kind: "dhcp4" }];
  });
}

/** `255.255.255.0`, `ffff:ffff::`. */
export function netmask({ family, prefix }: IpPrefix): string {
  const [parts, bits] = family === "ipv4" ? [4, 8] : [8, 16];
  const words = Array.from({ length: parts }, (_, i) => {
    const set = Math.min(Math.max(prefix - i * bits, 0), bits);
    return ((1 << bits) - 1) ^ ((1 << (bits - set)) - 1);
  });
  if (family === "ipv4") return words.join(".");
  const last = words.findLastIndex((word) => word !== 0);
  const text = words.slice(0, last + 1).map((word) => word.toString(16));
  return last === 7 ? text.join(":") : `${text.join(":")}::`;
}
