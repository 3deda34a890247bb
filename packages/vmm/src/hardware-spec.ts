/** What a machine has beyond what each one has. Absent = the driver's default. Plain data, as MachineSpec. */
export interface HardwareSpec {
  /** The VMM's name of the board. */
  readonly board?: string;
  /** sockets × cores × threads = what CPUs may grow to. */
  readonly topology?: {
    readonly sockets: number;
    readonly cores: number;
    readonly threads: number;
  };
  readonly cpuFeatures?: Readonly<Record<string, FeaturePolicy>>;
  /** Strings of the system and of its chassis, as SMBIOS has them; printable ASCII. */
  readonly smbios?: {
    readonly system?: Readonly<Record<string, string>>;
    readonly chassis?: Readonly<Record<string, string>>;
  };
  /** UEFI that starts only what is signed; its variables hold the keys. */
  readonly secureBoot?: boolean;
  /** The BIOS speaks on the serial port. */
  readonly firmwareSerial?: boolean;
  readonly tpm?: {
    /** The TPM's memory: a file of the machine's own user. */
    readonly statePath: string;
  };
  /** A guest that reboots, or is reset, has ended. */
  readonly endsOnReboot?: boolean;
  readonly platform?: PlatformSpec;
  /** Virtio devices have the interface before virtio 1.0 too. */
  readonly transitional?: boolean;
  /** How many threads disks on virtio and the scsi controller are dealt to; undefined = the VMM's main thread. */
  readonly ioThreads?: number;
  /** Those have a queue for each CPU of the start; undefined = as the VMM has it. */
  readonly diskQueues?: boolean;
  readonly hyperv?: HypervSpec;
  readonly clock?: ClockSpec;
  /** What happens when the guest does not feed it. */
  readonly watchdog?: "reset" | "poweroff" | "shutdown" | "pause";
  readonly tablet?: "virtio" | "usb" | "off";
  /** Beside the board's own. */
  readonly keyboard?: "virtio" | "usb";
  /** Of the display. */
  readonly video?: "vga" | "virtio" | "bochs" | "ramfb";
  readonly usb?: boolean;
  /** How many sockets take USB devices from elsewhere. */
  readonly usbRedirections?: number;
  readonly sound?: "ich9" | "ac97";
  /** How the guest says that it has panicked. */
  readonly panic?: "isa" | "pci" | "hyperv" | "off";
  readonly vsockCid?: number;
  /** Undefined = there is one. */
  readonly balloon?: boolean;
  /** Bytes of a page; all of the memory is taken at the start. */
  readonly hugePages?: number;
  readonly pinning?: PinningSpec;
  readonly passthrough?: readonly PassthroughSpec[];
}

/**
 * force, optional: shown where the host has it · require: no start without · disable: not shown ·
 * forbid: no start where the host has it.
 */
export type FeaturePolicy = "force" | "require" | "optional" | "disable" | "forbid";

/** What the board and KVM offer; undefined = what they do. */
interface PlatformSpec {
  readonly acpi?: boolean;
  readonly smm?: boolean;
  /** No signature of KVM. */
  readonly hidden?: boolean;
  readonly endOfInterrupt?: boolean;
  readonly pvspinlock?: boolean;
}

/** What the guest finds of Hyper-V. */
export interface HypervSpec {
  /** By the driver's names for them, such as relaxed. */
  readonly features: readonly string[];
  readonly spinlocks?: number;
  readonly vendorId?: string;
}

export interface ClockSpec {
  /** Whose local time the clock has at the start; undefined = UTC. */
  readonly timezone?: string;
  readonly aheadSeconds?: number;
  readonly rtc?: "catchup" | "delay";
  readonly pit?: "delay" | "discard";
  /** wall: the host's clock (undefined too); guest: time in which the guest was not paused. */
  readonly track?: "guest" | "wall";
  readonly pitPresent?: boolean;
  readonly hpet?: boolean;
  readonly kvmClock?: boolean;
  readonly hypervClock?: boolean;
}

/** CPUs of the host by number. */
export interface PinningSpec {
  /** One for each virtual CPU. */
  readonly cpus: readonly number[];
  /** For all else that the VMM does. */
  readonly others: readonly number[];
}

/** A PCI device of the host, given whole. */
export interface PassthroughSpec {
  /** As sysfs has it: 0000:01:00.0. */
  readonly address: string;
  /** Its IOMMU group, and the node that opens it, which the machine's user may open. */
  readonly group: number;
  readonly node: string;
}
