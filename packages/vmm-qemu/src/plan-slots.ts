import { slotNames } from "@trine/vmm";
import type { MachineSpec } from "@trine/vmm";
import { option } from "./option.ts";
import { DISK_SLOTS, slot } from "./pci-slots.ts";
import { blockdev, virtioDisks } from "./plan-disks.ts";

/** What the guest believes a slot holds, whatever is in it: file systems know their own size. */
const SLOT_BYTES = 1024 ** 4;

/** The slots' directory inside the VMM's jail, wherever the host has it: that may move while the machine runs. */
export const SLOTS_DIR = "/slots";

/** Block node that is a slot when it is empty. */
export function emptyNode(name: string): string {
  return `${name}-empty`;
}

/** Slots stand after the disks. Each is a raw node, whose file is changed while the guest runs. */
export function slotArguments(spec: MachineSpec): string[] {
  return slotNames(spec.slots).flatMap((name, index) => {
    const readOnly = name.startsWith("slot-ro-");
    return [
      ...blockdev({
        driver: "null-co",
        "node-name": emptyNode(name),
        size: SLOT_BYTES,
        "read-zeroes": true,
        "read-only": readOnly,
      }),
      ...blockdev({ ...slotNode(name), file: emptyNode(name) }),
      "-device",
      option("virtio-blk-pci", {
        drive: name,
        id: `disk-${name}`,
        addr: slot(DISK_SLOTS[virtioDisks(spec).length + index]),
        serial: name,
        "disable-legacy": true,
        rerror: "report",
        werror: "report",
      }),
    ];
  });
}

/** The node a slot is; equal at its making and in every later change, but for its file. */
export function slotNode(name: string): Readonly<Record<string, unknown>> {
  const readOnly = name.startsWith("slot-ro-");
  return {
    driver: "raw",
    "node-name": name,
    "read-only": readOnly,
    ...(readOnly ? {} : { discard: "unmap" }),
  };
}
