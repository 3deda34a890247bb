import type { Logger } from "pino";
import type { Accelerator, MachineDriver } from "@trine/vmm";
import type { UidPool } from "./uid-pool.ts";

/** What the engine is given by the program that wires it. */
export interface EngineDeps {
  readonly driver: MachineDriver;
  readonly log: Logger;
  readonly uids: UidPool;
  readonly config: EngineConfig;
  readonly now: () => Date;
  /** From a machine's Create to the execution of its VMM, for the metrics. */
  readonly onLaunched?: (ms: number) => void;
}

export interface EngineConfig {
  /** tmpfs: sockets and machines' run-time files. */
  readonly stateDir: string;
  /** Disk: console logs. */
  readonly rootDir: string;
  readonly accelerator: Accelerator;
  readonly machines: {
    readonly defaultMemoryBytes: number;
    readonly maxDiskBytes: number;
    readonly consoleSpoolBytes: number;
    /** Read-only firmware image and the template of its variables; undefined = no UEFI on this node. */
    readonly uefi: { readonly code: string; readonly vars: string } | undefined;
    readonly powerButtonEveryMs: number;
  };
}
