import { checkNetwork } from "./checked-network.ts";
import type { CheckedInterface } from "./checked-network.ts";
import { jsonAsYaml } from "./json-yaml.ts";
import { netmask, plainSubnets } from "./plain-subnets.ts";
import type { GuestNetwork } from "./seed-types.ts";

/** OpenStack's network_data.json. Kind `invalid` naming the key that is wrong. */
export function networkDataBytes(network: GuestNetwork): Buffer {
  const { interfaces, nameservers } = checkNetwork(network);
  return jsonAsYaml({
    links: interfaces.map(({ name, mac, mtu }, i) => ({
      id: `link${i}`,
      type: "phy",
      ethernet_mac_address: mac,
      mtu,
      // Not in OpenStack's own; cloud-init takes it.
      ...(name === undefined ? {} : { name }),
    })),
    networks: interfaces.flatMap((nic, i) => networksOf(nic, `link${i}`)),
    services: nameservers.map((address) => ({ type: "dns", address })),
  });
}

function networksOf(nic: CheckedInterface, link: string): object[] {
  const entries = plainSubnets(nic).flatMap((subnets): object[] => {
    if (subnets.kind === "dhcp4") return [{ type: "ipv4_dhcp" }];
    return subnets.addresses.map((address, index) => ({
      type: address.family,
      ip_address: address.address,
      netmask: netmask(address),
      routes: (index === 0 ? subnets.routes : []).map(({ to, via }) => ({
        network: to.prefix === 0 ? (to.family === "ipv4" ? "0.0.0.0" : "::") : to.address,
        netmask: netmask(to),
        gateway: via,
      })),
    }));
  });
  return entries.map((entry, index) => ({
    id: `${link}-${index}`,
    network_id: `${link}-${index}`,
    link,
    ...entry,
  }));
}
