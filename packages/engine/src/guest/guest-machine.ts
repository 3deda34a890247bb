import type { Accelerator, MachineSpec } from "@trine/vmm";
import type { GuestImage } from "../deps.ts";
import { tapOf } from "../tap.ts";

/** The guest's last words on the machine's console: a kernel that panics with loglevel=0 says nothing. */
const CONSOLE = "8250.nr_uarts=1 console=ttyS0 loglevel=1";

/** Images at a time, and containers with a root on a disk. Each costs memory and a moment of the start. */
const SLOTS = { readOnly: 3, writable: 4 };

/** What one guest has of its own. */
export interface GuestIdentity {
  readonly id: string;
  readonly uuid: string;
  /** Where its slots are filled; undefined for a machine that others are compared with. */
  readonly slotsDir?: string | undefined;
  /** None for a pod without a network. */
  readonly interfaces: readonly { readonly mac: string; readonly mtu: number }[];
}

/** The machine of a microvm pod, and of the templates such pods go on from. */
export function guestMachine(
  { id, uuid, slotsDir = "/slots", interfaces }: GuestIdentity,
  size: { readonly cpus: number; readonly memoryBytes: number },
  from: { readonly image: GuestImage; readonly accelerator: Accelerator },
): MachineSpec {
  const { kernel, initrd, commandLine } = from.image;
  return {
    id,
    uuid,
    ...size,
    boot: { kind: "direct", kernel, initrd, cmdline: `${commandLine} ${CONSOLE}` },
    guestLink: true,
    accelerator: from.accelerator,
    disks: [],
    slots: { dir: slotsDir, ...SLOTS },
    nics: interfaces.map(({ mac, mtu }, index) => ({
      name: `eth${index}`,
      tap: tapOf(index),
      mac,
      mtu,
    })),
    display: false,
    guestAgent: false,
    console: "serial",
  };
}
