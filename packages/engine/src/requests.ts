/** The task calls containerd makes, in the engine's words. Ids are containerd's. */
export interface PodRef {
  readonly namespace: string;
  readonly sandboxId: string;
  /** Path of the pod's shim socket. */
  readonly address: string;
}

export interface CreateTask {
  readonly id: string;
  readonly bundle: string;
  readonly rootfs: readonly RootfsMount[];
  readonly terminal: boolean;
  readonly stdin: boolean;
}

export interface RootfsMount {
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly options: readonly string[];
}

export interface AddExec {
  readonly id: string;
  readonly execId: string;
  readonly terminal: boolean;
  readonly stdin: boolean;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  /** The whole OCI process object as containerd gave it, JSON. */
  readonly process: Uint8Array;
}

export interface ProcessRef {
  readonly id: string;
  /** Empty = the task itself. */
  readonly execId: string;
}

export interface ResizeProcess extends ProcessRef {
  readonly width: number;
  readonly height: number;
}
