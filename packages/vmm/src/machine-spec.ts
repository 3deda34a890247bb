import type { HardwareSpec } from "./hardware-spec.ts";

/** What a machine is made of, in no VMM's terms. Plain data: stored in the pod's document as JSON. */
export interface MachineSpec {
  /** Unique on the node; names files and logs. */
  readonly id: string;
  readonly uuid: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** What starts the guest; `bootOf` reads it, and the form before it. */
  readonly boot?: BootSpec;
  /** The form before `boot`: pods' documents have it. Not looked at where there is `boot`. */
  readonly firmware?: "bios" | "uefi";
  /** The machine's own copy of the UEFI variables; needed for `firmware: "uefi"`. */
  readonly firmwareVarsPath?: string;
  /** What the firmware starts, in place of what a disk would boot. */
  readonly kernel?: KernelSpec;
  readonly accelerator: Accelerator;
  /** The VMM's CPU model name; undefined = the driver's default for the accelerator. */
  readonly cpuModel?: string;
  readonly disks: readonly DiskSpec[];
  /** Files that the guest reads from its firmware, not from a disk (fw_cfg). */
  readonly firmwareFiles?: readonly FirmwareFile[];
  readonly nics: readonly NicSpec[];
  /** It waits, paused, for its first resume. */
  readonly startsPaused?: boolean;
  /** A VNC display on a unix socket in the machine's directory. */
  readonly display: boolean;
  /** A channel `guest-agent` for qemu-guest-agent. */
  readonly guestAgent: boolean;
  /** Where the console goes: the first serial port, or a virtio console; none = the guest has neither. */
  readonly console: "serial" | "virtio" | "none";
  /** What this one has beyond that. */
  readonly hardware?: HardwareSpec;
  /** A channel `guest-link` to our agent in the guest. */
  readonly guestLink?: boolean;
  /** TCP ports of its host's own localhost to which the guest may connect over that link. */
  readonly guestPorts?: readonly number[];
  /** Empty disks the guest has from its start, filled and emptied while it runs. */
  readonly slots?: SlotsSpec;
  /** Directories of the host that a process beside the VMM serves to the guest. */
  readonly shares?: SharesSpec;
  /** Such directories that are a file system of their own each. */
  readonly fileSystems?: readonly SharesDevice[];
  /** What memory may grow to; undefined = it stays as it is. More than `memoryBytes`. */
  readonly memoryMaxBytes?: number;
  /** What CPUs may grow to; undefined = they stay as they are. */
  readonly maxCpus?: number;
  /** Its host makes the guest's memory and keeps it: such a machine can be saved as a template. */
  readonly isTemplate?: boolean;
  /** The machine goes on from a template instead of booting. */
  readonly origin?: { readonly template: Template };
}

export type BootSpec =
  | {
      readonly kind: "firmware";
      readonly firmware: "bios" | "uefi";
      /** The machine's own copy of the UEFI variables; needed for uefi. */
      readonly varsPath?: string;
    }
  /** A kernel (an uncompressed ELF starts fastest) without boot loader. A restart of the guest ends the machine. */
  | {
      readonly kind: "direct";
      readonly kernel: string;
      readonly initrd: string;
      readonly cmdline: string;
    };

/** Files are regular ones, that the VMM reads once, as its own user. */
export interface KernelSpec {
  readonly path: string;
  readonly initrdPath?: string;
  /** Its command line. */
  readonly args: string;
}

/** What starts the guest, whichever form says it. */
export function bootOf(
  spec: Pick<MachineSpec, "boot" | "firmware" | "firmwareVarsPath">,
): BootSpec {
  if (spec.boot !== undefined) return spec.boot;
  const { firmware = "bios", firmwareVarsPath: varsPath } = spec;
  return { kind: "firmware", firmware, ...(varsPath === undefined ? {} : { varsPath }) };
}

/**
 * Whether a guest can be given CPUs while it runs. With a thread for each CPU QEMU's emulation gives them its translation
 * cache piece by piece as they need it, and aborts where nothing is left for a new one (tcg_region_initial_alloc in
 * tcg/region.c: 13 of 40 guests that had just booted). So a guest that begins with one CPU and may have more runs all of
 * them in one thread, and one that begins with several keeps those.
 */
export function takesCpus({
  accelerator,
  cpus,
}: Pick<MachineSpec, "accelerator" | "cpus">): boolean {
  return accelerator === "kvm" || cpus === 1;
}

/** How the guest mounts them: by a device of the VMM, or over the link to our agent, of which the VMM knows nothing. */
export type SharesSpec = SharesDevice | { readonly way: "9p" };

/** Not for templates and clones. */
export interface SharesDevice {
  readonly way: "virtiofs";
  /** By which name; 1 to 36 of letters, digits, _ . - */
  readonly tag: string;
  /** The server's socket, a name in the machine's directory: it waits there before the machine starts. */
  readonly socket: string;
}

/** Devices of the VMM that show the guest directories of its host. */
export function shareDevices({
  shares,
  fileSystems = [],
}: Pick<MachineSpec, "shares" | "fileSystems">): readonly SharesDevice[] {
  return shares?.way === "virtiofs" ? [shares, ...fileSystems] : fileSystems;
}

export interface FirmwareFile {
  /** As the guest asks for it, opt/ and a name: at most 55 of letters, digits, _ . - and / */
  readonly name: string;
  /** Absolute; the VMM reads it as its own user. */
  readonly path: string;
}

export interface SlotsSpec {
  /** Directory whose files and mounts, also later ones, the VMM sees. */
  readonly dir: string;
  /** How many of each; the guest sees the serial numbers slot-ro-0… and slot-rw-0…, each of 1 TiB. */
  readonly readOnly: number;
  readonly writable: number;
}

/** A slot's name, which is its serial number in the guest. */
export type SlotName = `slot-ro-${number}` | `slot-rw-${number}`;

/** All slots of a machine, in the guest's order. */
export function slotNames(slots: SlotsSpec | undefined): SlotName[] {
  const count = (length: number): number[] => Array.from({ length }, (_, index) => index);
  return [
    ...count(slots?.readOnly ?? 0).map((index) => `slot-ro-${index}` as const),
    ...count(slots?.writable ?? 0).map((index) => `slot-rw-${index}` as const),
  ];
}

/** What fills a slot. The VMM opens `path` as its own user. */
export interface SlotImage {
  /** Under the slots' directory. */
  readonly path: string;
  readonly format: "raw" | "qcow2";
  /** What `path` is; undefined = a regular file. */
  readonly source?: "file" | "block-device";
  /** As the slot is. */
  readonly readOnly: boolean;
}

/** A machine's frozen memory and state, from which others go on. Plain data; made by `saveTemplate`. */
export interface Template {
  /** `templateKey` of the machine it was made of. */
  readonly key: string;
  /** Where its host says that the sealed memory is found. */
  readonly memoryPath: string;
  /** The memory's inode number: another file at its path is another template. */
  readonly memoryInode: string;
  readonly statePath: string;
  readonly stateSha256: string;
}

export type Accelerator = "kvm" | "tcg";

export interface DiskSpec {
  /** Unique in the machine, [a-z0-9-], at most 20 characters: the guest sees it as the serial number. */
  readonly name: string;
  readonly bus: "virtio" | "scsi" | "sata";
  /** Undefined = a disk. A cd-rom is read-only, and not on virtio. */
  readonly media?: "cdrom";
  readonly format: "qcow2" | "raw";
  readonly path: string;
  /** What `path` is; undefined = a regular file. */
  readonly source?: "file" | "block-device";
  /** Which file that was when the disk was made, DEVICE:INODE in decimal, where others may put another in its place. */
  readonly inode?: string;
  /** Of a raw disk: where in `path` it begins; undefined = with its first byte. */
  readonly offsetBytes?: number;
  readonly readOnly: boolean;
  /** Read-only image under a qcow2 `path`. Never taken from the file's own header. */
  readonly backing?: {
    readonly format: "qcow2" | "raw";
    readonly path: string;
    readonly source?: "file" | "block-device";
  };
  /** 1 boots first; undefined = not bootable. */
  readonly bootIndex?: number;
  /** Undefined = the name. 1 to 20 of letters, digits, _ . - */
  readonly serial?: string;
  /** none: past the host's page cache · writethrough: written when said to be · writeback (default): at a flush. */
  readonly cache?: "none" | "writethrough" | "writeback";
  /** How the VMM waits for the host. native needs cache none. */
  readonly io?: "threads" | "native";
  /** What becomes of a read or write that fails: the guest is told (undefined), or does not run on until it is resumed. */
  readonly onError?: "report" | "stop" | "ignore" | "enospc";
  /** What the guest discards is given back to the host; undefined = yes. */
  readonly discard?: boolean;
  /** A thread of the VMM serves it alone, of one on scsi its controller; for virtio and scsi. */
  readonly ownThread?: boolean;
  /** Other machines write it too: no lock is taken. */
  readonly shared?: boolean;
}

export interface NicSpec {
  readonly name: string;
  /** Tap device known to the host (`OpenTap`); this or `socket`. */
  readonly tap?: string;
  /** Name in the machine's directory where the VMM waits for whoever carries the frames, again after it has gone. */
  readonly socket?: string;
  /** Of the tap; undefined = 1. */
  readonly queues?: number;
  readonly mac: string;
  /** With a card that is not virtio's the guest learns it by DHCP alone. */
  readonly mtu: number;
  /** Undefined = virtio. Others have one queue. */
  readonly model?: NicModel;
  /** Its cable is out from the start. */
  readonly isUnplugged?: true;
}

/** Cards that guests without a driver for virtio's know. */
export type NicModel = "virtio" | "e1000e" | "e1000" | "rtl8139" | "pcnet" | "ne2k_pci";
