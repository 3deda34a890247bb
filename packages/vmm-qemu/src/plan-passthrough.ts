import type { JailBind, MachineSpec, PassthroughSpec, ProcessPlan } from "@trine/vmm";
import { device } from "./plan-devices.ts";
import { option } from "./option.ts";
import { controllerSlots } from "./plan-disks.ts";
import { slot } from "./pci-slots.ts";

const GIB = 1024 ** 3;
const VFIO = "/dev/vfio/vfio";

/** Functions of one slot: a port for each. */
export const MAX_PASSTHROUGH = 8;

function devicesOf({ hardware }: MachineSpec): readonly PassthroughSpec[] {
  return hardware?.passthrough ?? [];
}

/** Each behind a port of its own: an express device on the root bus has no express capability. */
export function passthroughArguments(spec: MachineSpec): string[] {
  const { ports } = controllerSlots(spec);
  return devicesOf(spec).flatMap(({ address }, index) => [
    "-device",
    option("pcie-root-port", {
      id: `port${index}`,
      bus: "pcie.0",
      addr: `${slot(ports)}.${index}`,
      multifunction: true,
      chassis: index + 1,
    }),
    ...device("vfio-pci", { host: address, id: `passthrough${index}`, bus: `port${index}` }),
  ]);
}

/** What QEMU opens by name: the device's nodes, and the directory where it looks for its group. */
export function passthroughBinds(spec: MachineSpec): JailBind[] {
  const devices = devicesOf(spec);
  if (devices.length === 0) return [];
  const groups = new Map(devices.map(({ group, node }) => [group, node]));
  return [
    { source: VFIO, target: VFIO, writable: true, device: true },
    ...[...groups].map(([group, source]) => ({
      source,
      target: `/dev/vfio/${group}`,
      writable: true,
      device: true,
    })),
    ...devices.map(({ address }) => {
      const path = `/sys/bus/pci/devices/${address}`;
      return { source: path, target: path };
    }),
  ];
}

/** A device reaches all of the guest's memory at any time; a GiB is for its own registers. */
export function passthroughLock(spec: MachineSpec): Pick<ProcessPlan, "lockedBytes"> {
  if (devicesOf(spec).length === 0) return {};
  return { lockedBytes: (spec.memoryMaxBytes ?? spec.memoryBytes) + GIB };
}
