import { MACHINE_DIR, sharesDevice } from "@trine/vmm";
import type { MachineSpec } from "@trine/vmm";
import { option } from "./option.ts";
import { slot } from "./pci-slots.ts";
import { controllerSlots } from "./plan-disks.ts";

/** The guest's end of what serves its shares: QEMU passes on where the guest's memory and queues are, and no bytes. */
export function shareArguments(spec: MachineSpec): string[] {
  const shares = sharesDevice(spec);
  if (shares === undefined) return [];
  const addr = slot(controllerSlots(spec).shares);
  return [
    ...["-chardev", option("socket", { id: "shares", path: `${MACHINE_DIR}/${shares.socket}` })],
    "-device",
    option("vhost-user-fs-pci", { id: "shares0", chardev: "shares", tag: shares.tag, addr }),
  ];
}
