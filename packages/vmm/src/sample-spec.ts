import { join } from "node:path";
import type { MachineSpec } from "./machine-spec.ts";

const MIB = 1024 * 1024;

/** A small valid machine with one disk, changed by `changes`. */
export function machineSpec(changes: Partial<MachineSpec> = {}): MachineSpec {
  return {
    id: "m1",
    uuid: "6ec0e7a4-47d5-4d2f-9a3f-2b6a2f3c1d10",
    cpus: 1,
    memoryBytes: 64 * MIB,
    firmware: "bios",
    accelerator: "tcg",
    disks: [
      {
        name: "root",
        bus: "virtio",
        format: "raw",
        path: "/disks/root",
        readOnly: false,
        bootIndex: 1,
      },
    ],
    nics: [],
    display: false,
    guestAgent: true,
    console: "serial",
    ...changes,
  };
}

/** A machine with all that a light one has but a kernel of its own; its files lie in `dir`. */
export function lightSpec(dir: string, changes: Partial<MachineSpec> = {}): MachineSpec {
  return machineSpec({
    guestAgent: false,
    guestLink: true,
    slots: { dir: join(dir, "slots"), readOnly: 2, writable: 1 },
    maxCpus: 2,
    memoryMaxBytes: 128 * MIB,
    isTemplate: true,
    ...changes,
  });
}
