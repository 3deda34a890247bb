import type { VirtualMachineInstanceNetworkInterface } from "@trine/kube-types";
import { topologyOf } from "./cpu-memory.ts";
import { podInterfaces } from "./networks.ts";
import { type Seen, reportOf } from "./seen.ts";

type Shown = VirtualMachineInstanceNetworkInterface;
type Reported = NonNullable<ReturnType<typeof reportOf>>["interfaces"][number];

/** A guest may have any number of addresses; so many are of use. */
const MAX_ADDRESSES = 16;
const MAX_QUEUES = 16;

/** The machine's interfaces by the names of the spec, then those that only its node knows. */
export function interfacesOf(seen: Seen): readonly Shown[] {
  const { spec, pod } = seen;
  const report = reportOf(seen);
  const before = seen.vmi.status?.interfaces ?? [];
  if (report === undefined) return before;
  const named = podInterfaces(spec);
  const isDown = new Set(
    (spec.domain.devices.interfaces ?? [])
      .filter(({ state }) => state === "down")
      .map(({ name }) => name),
  );
  const { sockets, cores, threads } = topologyOf(spec.domain);
  const isMany = spec.domain.devices.networkInterfaceMultiqueue === true;
  const queueCount = isMany ? Math.min(sockets * cores * threads, MAX_QUEUES) : 1;
  return report.interfaces.map((each): Shown => {
    const of = named.find(({ podInterface }) => podInterface === each.name);
    const podIPs = (pod?.status?.podIPs ?? []).map(({ ip }) => ip);
    const isPrimary = each.name === "eth0";
    // Behind masquerade the guest's own address means nothing outside.
    const told =
      of?.binding === "masquerade" ? podIPs : [...(isPrimary ? podIPs : []), ...each.addresses];
    const linkState = isDown.has(of?.name ?? "") ? "down" : "up";
    return { ...shown(each, of?.name, ordered(told), queueCount), linkState };
  });
}

function shown(
  each: Reported,
  name: string | undefined,
  addresses: readonly string[],
  queueCount: number,
): Shown {
  const [ipAddress] = addresses;
  return {
    ...(name === undefined ? {} : { name }),
    mac: each.mac,
    ...(ipAddress === undefined ? {} : { ipAddress, ipAddresses: addresses }),
    ...(each.guestName === undefined ? {} : { interfaceName: each.guestName }),
    podInterfaceName: each.name,
    infoSource: each.fromGuest ? "domain, guest-agent" : "domain",
    queueCount,
  };
}

/** Each once, those of a link alone last. */
function ordered(addresses: readonly string[]): readonly string[] {
  const once = [...new Set(addresses)];
  const isLocal = (address: string): boolean => /^(fe80:|169\.254\.)/i.test(address);
  return [...once.filter((each) => !isLocal(each)), ...once.filter(isLocal)].slice(
    0,
    MAX_ADDRESSES,
  );
}
