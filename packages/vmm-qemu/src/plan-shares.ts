import { MACHINE_DIR, shareDevices } from "@trine/vmm";
import type { MachineSpec } from "@trine/vmm";
import { option } from "./option.ts";
import { slot } from "./pci-slots.ts";
import { controllerSlots } from "./plan-disks.ts";

/**
 * The guest's end of what serves its shares: QEMU passes on where the guest's memory and queues are, and no bytes. They
 * are functions of one slot.
 */
export function shareArguments(spec: MachineSpec): string[] {
  const devices = shareDevices(spec);
  return devices.flatMap(({ socket, tag }, index) => {
    const id = index === 0 ? "shares" : `shares-${index}`;
    const at = slot(controllerSlots(spec).shares);
    const device = {
      id: `shares${index}`,
      ...{ chardev: id, tag },
      addr: index === 0 ? at : `${at}.${index}`,
      ...(index === 0 && devices.length > 1 ? { multifunction: true } : {}),
    };
    return [
      ...["-chardev", option("socket", { id, path: `${MACHINE_DIR}/${socket}` })],
      ...["-device", option("vhost-user-fs-pci", device)],
    ];
  });
}
