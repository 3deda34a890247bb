/**
 * The keeper of a machine's processes and byte streams: in production the pod's shim. It outlives the
 * daemon, so every call may be repeated and every stream is resumed by offset.
 */
export interface ProcessHost {
  /** The machine's directory as the host sees it; the VMM sees it as `MACHINE_DIR`. */
  readonly machineDir: string;

  /**
   * Starts a child; when `key` is in use (also by a child that has ended), answers the child that has it
   * with `already: true`.
   */
  spawn(plan: ProcessPlan): Promise<{ pid: number; already: boolean }>;

  /** Kind `notFound` when no such child runs. */
  signal(key: string, signal: number): Promise<void>;

  /**
   * Says on which CPUs of the host threads of a child may run, by thread id. Kind `notFound` for a thread that is not
   * the child's, `invalid` for CPUs that there are not.
   */
  pinThreads(key: string, threads: readonly PinnedThread[]): Promise<void>;

  /** A `held` channel of a spawned child. */
  channel(name: string): ByteChannel;

  /**
   * Makes a memory of this host unchangeable for everybody and says where other hosts find it. Kind
   * `wrongState` as long as a child maps it for writing. Repeatable.
   */
  sealMemory(name: string): Promise<{ readonly path: string; readonly inode: string }>;

  /** The newest output (stdout and stderr, at most 4 KiB) of a child; for error messages. */
  logTail?(key: string): Promise<string>;
}

export interface PinnedThread {
  readonly id: number;
  readonly cpus: readonly number[];
}

/** Path of the machine's directory inside the VMM's jail. */
export const MACHINE_DIR = "/machine";

export interface ProcessPlan {
  readonly key: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly descriptors: readonly PlannedDescriptor[];
  /** A root of its own with these binds, /machine (the host adds it) and nothing else. */
  readonly jail: {
    readonly binds: readonly JailBind[];
    readonly newNetwork: boolean;
  };
  /** Groups the child is in beside its own. */
  readonly groups?: readonly number[];
  readonly exitRules: readonly { readonly reason: string; readonly exitStatus: number }[];
  /** It serves the VMM: its end is not the machine's. */
  readonly isHelper?: boolean;
  /** Memory it may keep from being paged out; undefined = what the host gives every process. */
  readonly lockedBytes?: number;
}

export interface JailBind {
  readonly source: string;
  readonly target: string;
  readonly writable?: boolean;
  readonly device?: boolean;
  /** What is mounted under `source` after the child's start is seen by it too. */
  readonly live?: boolean;
}

/** A descriptor the child finds under `number`. */
export type PlannedDescriptor =
  | {
      readonly number: number;
      readonly kind: "file";
      readonly path: string;
      readonly writable: boolean;
    }
  | {
      readonly number: number;
      readonly kind: "tap";
      readonly tap: string;
      /** Undefined = the first. */
      readonly queue?: number;
    }
  | {
      readonly number: number;
      readonly kind: "channel";
      readonly name: string;
      readonly use: ChannelUse;
    }
  /** A memory that the host makes and keeps; the child opens it by its number, under /proc/self/fd. */
  | {
      readonly number: number;
      readonly kind: "memory";
      readonly name: string;
      readonly bytes: number;
    }
  /** A memory that another host has sealed; the host makes sure that it is that one. */
  | {
      readonly number: number;
      readonly kind: "sealed-memory";
      readonly path: string;
      readonly inode: string;
      readonly bytes: number;
    }
  /** A listening unix socket; `path` is the VMM's, under MACHINE_DIR. */
  | {
      readonly number: number;
      readonly kind: "listen";
      readonly path: string;
      /** Other children of the machine's user connect to it. */
      readonly forMachine?: boolean;
    };

/**
 * held: bytes for the daemon · console: the container's stdio · monitor: exit reasons for the host ·
 * guest: the link to our agent, whose streams the host makes · freeGuest: the same, of a guest whose owner starts and
 * ends the agent; it begins anew with each.
 */
export type ChannelUse = "held" | "console" | "monitor" | "guest" | "freeGuest";

/** A byte stream by offset: what was read stays readable until acknowledged by a later read. */
export interface ByteChannel {
  /** Next bytes in order; undefined when the other end is gone. One reader at a time. */
  read(signal: AbortSignal): Promise<Uint8Array | undefined>;
  write(bytes: Uint8Array): Promise<void>;
}
