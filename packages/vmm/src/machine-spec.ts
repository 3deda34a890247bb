/** What a machine is made of, in no VMM's terms. Plain data: stored in the pod's document as JSON. */
export interface MachineSpec {
  /** Unique on the node; names files and logs. */
  readonly id: string;
  readonly uuid: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly firmware: "bios" | "uefi";
  /** The machine's own copy of the UEFI variables; needed for uefi. */
  readonly firmwareVarsPath?: string;
  readonly accelerator: Accelerator;
  /** The VMM's CPU model name; undefined = the driver's default for the accelerator. */
  readonly cpuModel?: string;
  readonly disks: readonly DiskSpec[];
  readonly nics: readonly NicSpec[];
  /** A VNC display on a unix socket in the machine's directory. */
  readonly display: boolean;
  /** A channel `guest-agent` for qemu-guest-agent. */
  readonly guestAgent: boolean;
  /** Where the console goes: the first serial port, or a virtio console. */
  readonly console: "serial" | "virtio";
}

export type Accelerator = "kvm" | "tcg";

export interface DiskSpec {
  /** Unique in the machine, [a-z0-9-], at most 20 characters: the guest sees it as the serial number. */
  readonly name: string;
  readonly bus: "virtio";
  readonly format: "qcow2" | "raw";
  readonly path: string;
  /** What `path` is; undefined = a regular file. */
  readonly source?: "file" | "block-device";
  readonly readOnly: boolean;
  /** Read-only image under a qcow2 `path`. Never taken from the file's own header. */
  readonly backing?: { readonly format: "qcow2" | "raw"; readonly path: string };
  /** 1 boots first; undefined = not bootable. */
  readonly bootIndex?: number;
}

export interface NicSpec {
  readonly name: string;
  /** Tap device known to the host (`OpenTap`). */
  readonly tap: string;
  readonly mac: string;
  readonly mtu: number;
}
