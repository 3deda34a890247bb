import type { MachineSpec, SlotImage, SlotName, Template } from "./machine-spec.ts";
import type { ProcessHost } from "./process-host.ts";

/** Runs machines on one VMM. Any call may be repeated; a repeat finds the work done. */
export interface MachineDriver {
  readonly name: string;
  readonly can: Readonly<{
    pause: boolean;
    hotplug: boolean;
    snapshot: boolean;
    templates: boolean;
  }>;

  /**
   * Resolves once the monitor answers and the guest runs. A start that rejects leaves no process behind.
   * Kind `conflict` when the template in `spec.origin` does not fit the machine, this host or its own files:
   * the same spec without `origin` boots.
   */
  start(spec: MachineSpec, host: ProcessHost, signal: AbortSignal): Promise<Machine>;

  /** Takes over a machine an earlier daemon started; `notFound` when its process is gone. */
  recover(spec: MachineSpec, host: ProcessHost, signal: AbortSignal): Promise<Machine>;

  /**
   * Says which templates fit a machine: equal for two specs that differ in nothing but what a clone may have
   * of its own (id, uuid, MACs, taps, contents of slots, where files lie). Kind `unimplemented` without `can.templates`.
   */
  templateKey(spec: MachineSpec, signal: AbortSignal): Promise<string>;
}

/** Key of the VMM's process at its host, and names of its channels. */
export const VMM_KEY = "vmm";
/** Key of the process that is its TPM, where it has one. */
export const TPM_KEY = "tpm";
export const CONSOLE_CHANNEL = "console";
export const GUEST_AGENT_CHANNEL = "guest-agent";
export const GUEST_LINK_CHANNEL = "guest-link";

/** One running machine. Its end is seen by the host (the process ends), not through this interface. */
export interface Machine {
  status(signal: AbortSignal): Promise<MachineStatus>;
  /** Presses the ACPI power button once. A machine that is already off is a success. */
  powerDown(signal: AbortSignal): Promise<void>;
  pause(signal: AbortSignal): Promise<void>;
  resume(signal: AbortSignal): Promise<void>;
  /** Presses the reset button: the guest starts anew, with the same devices. A paused machine stays paused. */
  reset(signal: AbortSignal): Promise<void>;
  /**
   * What becomes of a machine whose guest powers itself off: it ends, as it does when nothing is said, or it stays, with
   * status `off`, until `startAgain`.
   */
  onPowerOff(action: "end" | "stay", signal: AbortSignal): Promise<void>;
  /** Starts a guest that has powered itself off and stayed; answers whether it was off. */
  startAgain(signal: AbortSignal): Promise<boolean>;
  /** Says on its network cards who the guest is: to whoever has come to carry its frames anew. */
  announce(signal: AbortSignal): Promise<void>;
  /** Ends the VMM at once. Already gone is a success. */
  kill(signal: AbortSignal): Promise<void>;
  stats(signal: AbortSignal): Promise<MachineStats>;
  /** How large the guest sees its disks, in bytes, by their names. */
  diskBytes(signal: AbortSignal): Promise<ReadonlyMap<string, number>>;
  /** For people who look for a fault: the VMM's own answers. Rejects when it gives none before the signal aborts. */
  report(signal: AbortSignal): Promise<MachineReport>;
  /**
   * Puts an image into a slot; the guest hears nothing of it. The same image again is a success; another one
   * is `wrongState` until the slot is emptied.
   */
  fillSlot(name: SlotName, image: SlotImage, signal: AbortSignal): Promise<void>;
  /** The guest must have unmounted it. Empty already is a success. */
  emptySlot(name: SlotName, signal: AbortSignal): Promise<void>;
  /**
   * Tells the guest that what is in a slot has `bytes` by now, as its host has it. What reads or writes it goes on. Of a
   * read-only slot, and only of one, `overlay` is the path of an empty QCOW2 image of that size, which the VMM
   * may write and does not need afterwards.
   */
  resizeSlot(name: SlotName, bytes: number, signal: AbortSignal, overlay?: string): Promise<void>;
  /**
   * Shows the guest a raw disk of the spec as large as its host has made it; `bytes` is all of its file or device, in
   * whole sectors. Answers whether the guest had less. Kind `invalid` for a disk that is not written.
   */
  growDisk(name: string, bytes: number, signal: AbortSignal): Promise<boolean>;
  /**
   * Offers the guest memory up to `bytes` (at least the spec's `memoryBytes`, at most `memoryMaxBytes`) or asks
   * it back; the guest follows in its own time, and gives back what it can. Kind `invalid` outside the limits.
   */
  resizeMemory(bytes: number, signal: AbortSignal): Promise<void>;
  /**
   * The same with CPUs, up to `maxCpus`. A new one is offline until the guest's agent takes it. Answers how many there are
   * when the guest has followed: more than `count` where none is taken back. Kind `wrongState` where none can be added.
   */
  resizeCpus(count: number, signal: AbortSignal): Promise<number>;
  /**
   * Freezes a machine of a spec with `isTemplate`, writes its state to `statePath` (mode 0600, replaced), ends
   * the VMM and has its host seal the memory: nobody can change it from now on.
   */
  saveTemplate(statePath: string, signal: AbortSignal): Promise<Template>;
  /** Changes from now until `signal` aborts or the monitor is gone. */
  events(signal: AbortSignal): AsyncIterable<MachineEvent>;
  /** Leaves the machine running and lets go of the monitor. */
  detach(): void;
}

/** `io-error` and `watchdog`: the VMM itself has stopped the guest, which goes on when it is resumed. */
export type MachineStatus =
  "starting" | "running" | "paused" | "io-error" | "watchdog" | "off" | "crashed";

export interface MachineEvent {
  readonly at: Date;
  readonly what:
    | "running"
    | "paused"
    | "reset"
    | "shutdown"
    | "panicked"
    | "io-error"
    | "agent-up"
    | "agent-down";
  readonly detail?: string;
}

/** Answers of a VMM to what it was asked, as it gives them, and why others are missing. JSON, of bounded size. */
export interface MachineReport {
  readonly answers: Readonly<Record<string, unknown>>;
  readonly failures: Readonly<Record<string, string>>;
}

/** The guest's truth. Undefined where the guest does not say. */
export interface MachineStats {
  /** CPUs that are plugged in, also while the guest is still to take or to let go of one. */
  readonly cpus: number;
  /** Nanoseconds of vCPU thread time. */
  readonly cpuNs: bigint;
  readonly memory: {
    /** Bytes given to the guest. */
    readonly totalBytes: number;
    readonly freeBytes?: number;
    readonly availableBytes?: number;
    readonly diskCacheBytes?: number;
    readonly majorFaults?: number;
    readonly minorFaults?: number;
    /** What the guest's kernel calls all of its memory. */
    readonly seenBytes?: number;
    readonly swappedInBytes?: number;
    readonly swappedOutBytes?: number;
  };
  readonly vcpus: readonly VcpuStats[];
  readonly disks: readonly DiskStats[];
}

export interface VcpuStats {
  readonly id: number;
  /** Nanoseconds that its thread ran. */
  readonly ns: bigint;
  /** Nanoseconds that it could have run and another thread did; undefined where the host does not count them. */
  readonly delayNs?: bigint;
  /** The same as the scheduler's statistics have it, which few hosts keep (`kernel.sched_schedstats`); undefined elsewhere. */
  readonly waitNs?: bigint;
}

/** Since the machine was started. */
interface DiskStats {
  readonly name: string;
  readonly readBytes: bigint;
  readonly writtenBytes: bigint;
  readonly reads: bigint;
  readonly writes: bigint;
  readonly flushes: bigint;
  /** Nanoseconds that each kind took, all of them together. */
  readonly readNs: bigint;
  readonly writeNs: bigint;
  readonly flushNs: bigint;
}
