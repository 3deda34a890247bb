import type { Logger } from "pino";
import type { GuestRoots } from "@trine/guest-roots";
import type { Accelerator, MachineDriver } from "@trine/vmm";
import type { Importer } from "./machine/import-container.ts";
import type { GuestStart } from "./guest/guest-start.ts";
import type { UidPool } from "./uid-pool.ts";

/** What the engine is given by the program that wires it. */
export interface EngineDeps {
  readonly driver: MachineDriver;
  readonly log: Logger;
  readonly uids: UidPool;
  readonly config: EngineConfig;
  readonly now: () => Date;
  /** The guest of level microvm as it lies on this node; rejects, with advice, when there is none. */
  readonly guestImage: () => Promise<GuestImage>;
  /** Roots of microvm containers on disks; undefined = all go through the share. */
  readonly roots?: Pick<GuestRoots, "find" | "placeLayer">;
  /** What CRI was asked for, of a container: CRI's ContainerConfig as JSON; undefined = CRI did not make it. */
  readonly criConfig?: (container: {
    readonly containerd: string;
    readonly namespace: string;
    readonly id: string;
  }) => Promise<unknown>;
  /** What fills volumes in pods' containers; undefined = this node does not. */
  readonly importer?: Importer;
  /** From a machine's Create to the execution of its VMM, for the metrics. */
  readonly onLaunched?: (ms: number) => void;
  /** A microvm pod's guest has answered for the first time; for the metrics. */
  readonly onGuestUp?: (start: GuestStart) => void;
}

/** What boots the guests of microvm pods. */
export interface GuestImage {
  /** Paths on the host. */
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
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
    readonly uefi:
      | { readonly code: string; readonly vars: string; readonly secureVars?: string | undefined }
      | undefined;
    readonly powerButtonEveryMs: number;
    /** Program that serves volumes to machines. */
    readonly virtiofsd: string;
    /** Program that carries a machine's network without privileges. */
    readonly passt: string;
    /** Program of our agent, for guests that are to have it. */
    readonly agent: string;
    /** The node's own runc shim, for ordinary containers beside a machine. */
    readonly nestedShim: string;
  };
  readonly microvms: {
    /** Program of shims that are made without a pod: the one containerd starts for the others. */
    readonly shim: string;
    /** Program of the pods' file servers, statically linked. */
    readonly fileServer: string;
    readonly defaultMemoryBytes: number;
    readonly defaultCpus: number;
    /** A guest whose agent has not answered by then has failed. */
    readonly bootMs: number;
    /** Program that makes erofs files. */
    readonly roots: { readonly mkfs: string };
    /** Guests that boot ahead of their pods; undefined = the node's default size. */
    readonly pool: readonly {
      readonly count: number;
      readonly cpus?: number | undefined;
      readonly memoryBytes?: number | undefined;
    }[];
    readonly templates: {
      /** How many are kept at most; 0 = none, and every pod boots. */
      readonly most: number;
      /** Guests' memory for which one is made when the daemon starts; empty = the default memory. */
      readonly sizes: readonly number[];
    };
  };
}
