import { PLATFORM_FIELDS } from "./hardware-fields.ts";
import type { AnnotationSpec } from "./value-types.ts";

/** As many as trine.dev/disks takes. */
const MAX_DISKS = 16;

/** How the board behaves. */
export const PLATFORM_ANNOTATIONS = [
  {
    key: "trine.dev/on-reboot",
    setting: "onReboot",
    level: "vm",
    type: "choice",
    choices: ["restart", "end"],
    default: "restart",
    description:
      "What a guest that reboots, or is reset, comes to. restart: it begins anew in its machine. end: its container ends with status 0.",
    reason: "Whoever makes machines may want to make them anew, with what has changed meanwhile.",
    example: "end",
    virtlet: [],
  },
  {
    key: "trine.dev/platform",
    setting: "platform",
    level: "vm",
    type: "fields",
    fields: PLATFORM_FIELDS,
    description: "What the board and KVM offer. What is said of KVM means nothing without it.",
    reason: "Old guests, and drivers that refuse to run under a hypervisor.",
    example: "{smm: off, hidden: on}",
    virtlet: [],
  },
  {
    key: "trine.dev/virtio-transitional",
    setting: "virtioTransitional",
    level: "vm",
    type: "switch",
    default: "off",
    description:
      "Whether virtio's disks, network cards, ports, balloon and random numbers have the interface before virtio 1.0 beside today's.",
    reason: "Guests of before 2014 have no driver for today's.",
    example: "on",
    virtlet: [],
  },
  {
    key: "trine.dev/keyboard",
    setting: "keyboard",
    level: "vm",
    type: "choice",
    choices: ["virtio", "usb", "off"],
    default: "off",
    description: "A keyboard beside the board's own.",
    reason: "Some guests look for none where there is no PS/2 in their tables.",
    example: "usb",
    virtlet: [],
  },
  {
    key: "trine.dev/io-threads",
    setting: "ioThreads",
    level: "vm",
    type: "integer",
    min: 1,
    max: MAX_DISKS,
    description:
      "Threads of the VMM that disks on virtio and the scsi controller are dealt to in turn. Those with ownThread in trine.dev/disks have one more each. Unset: its main thread serves the others.",
    reason: "A disk that is busy delays no other, nor the guest's network.",
    example: "2",
    virtlet: [],
  },
  {
    key: "trine.dev/disk-multiqueue",
    setting: "diskMultiqueue",
    level: "vm",
    type: "switch",
    default: "off",
    description:
      "Whether disks on virtio and the scsi controller have a queue for each CPU of the start. off: as the VMM has it for the board, which is the same with new ones.",
    reason: "CPUs that read and write at once do not wait for each other.",
    example: "on",
    virtlet: [],
  },
] as const satisfies readonly AnnotationSpec[];
