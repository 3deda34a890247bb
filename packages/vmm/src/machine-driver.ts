import type { MachineSpec } from "./machine-spec.ts";
import type { ProcessHost } from "./process-host.ts";

/** Runs machines on one VMM. Any call may be repeated; a repeat finds the work done. */
export interface MachineDriver {
  readonly name: string;
  readonly can: Readonly<{ pause: boolean; hotplug: boolean; snapshot: boolean }>;

  /** Resolves once the monitor answers and the guest runs. A start that rejects leaves no process behind. */
  start(spec: MachineSpec, host: ProcessHost, signal: AbortSignal): Promise<Machine>;

  /** Takes over a machine an earlier daemon started; `notFound` when its process is gone. */
  recover(spec: MachineSpec, host: ProcessHost, signal: AbortSignal): Promise<Machine>;
}

/** Key of the VMM's process at its host, and names of its channels. */
export const VMM_KEY = "vmm";
export const CONSOLE_CHANNEL = "console";
export const GUEST_AGENT_CHANNEL = "guest-agent";

/** One running machine. Its end is seen by the host (the process ends), not through this interface. */
export interface Machine {
  status(signal: AbortSignal): Promise<MachineStatus>;
  /** Presses the ACPI power button once. A machine that is already off is a success. */
  powerDown(signal: AbortSignal): Promise<void>;
  pause(signal: AbortSignal): Promise<void>;
  resume(signal: AbortSignal): Promise<void>;
  /** Ends the VMM at once. Already gone is a success. */
  kill(signal: AbortSignal): Promise<void>;
  stats(signal: AbortSignal): Promise<MachineStats>;
  /** Changes from now until `signal` aborts or the monitor is gone. */
  events(signal: AbortSignal): AsyncIterable<MachineEvent>;
  /** Leaves the machine running and lets go of the monitor. */
  detach(): void;
}

export type MachineStatus = "starting" | "running" | "paused" | "off" | "crashed";

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

/** The guest's truth. Undefined where the guest does not say. */
export interface MachineStats {
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
  };
  readonly disks: readonly {
    readonly name: string;
    readonly readBytes: bigint;
    readonly writtenBytes: bigint;
    readonly reads: bigint;
    readonly writes: bigint;
  }[];
}
