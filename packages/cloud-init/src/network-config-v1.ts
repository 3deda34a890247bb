import { checkNetwork } from "./checked-network.ts";
import { jsonAsYaml } from "./json-yaml.ts";
import { netmask, plainSubnets } from "./plain-subnets.ts";
import type { PlainSubnets } from "./plain-subnets.ts";
import type { GuestNetwork } from "./seed-types.ts";

/** Network configuration, version 1, for a cloud-init that knows no other. Kind `invalid` naming the key that is wrong. */
export function networkConfigV1Bytes(network: GuestNetwork): Buffer {
  const { interfaces, nameservers, search } = checkNetwork(network);
  const config: object[] = interfaces.map((nic, i) => ({
    type: "physical",
    name: nic.name ?? `eth${i}`,
    mac_address: nic.mac,
    mtu: nic.mtu,
    subnets: plainSubnets(nic).flatMap(written),
  }));
  if (nameservers.length > 0 || search.length > 0) {
    config.push({ type: "nameserver", address: nameservers, search });
  }
  return jsonAsYaml({ version: 1, config });
}

/** A default route goes where every reader of the version looks for it. */
function written(subnets: PlainSubnets): object[] {
  if (subnets.kind === "dhcp4") return [{ type: "dhcp4" }];
  return subnets.addresses.map((address, index) => {
    const own = index === 0 ? subnets.routes : [];
    const gateway = own.find(({ to, metric }) => to.prefix === 0 && metric === undefined);
    const routes = own
      .filter((route) => route !== gateway)
      .map(({ to, via, metric }) => ({
        network: to.address,
        netmask: netmask(to),
        gateway: via,
        ...(metric === undefined ? {} : { metric }),
      }));
    return {
      type: address.family === "ipv4" ? "static" : "static6",
      address: address.text,
      ...(gateway === undefined ? {} : { gateway: gateway.via }),
      ...(routes.length === 0 ? {} : { routes }),
    };
  });
}
