import type { Event } from "@trine/proto/shim";
import type { MachineReport } from "@trine/vmm";
import type { MachineControl } from "./machine/machine-control.ts";
import type { MachineFigures } from "./machine-figures.ts";
import type { GuestSize } from "./pod-document.ts";
import type { AddExec, CreateTask, ProcessRef, ResizeProcess } from "./requests.ts";
import type { PodStats } from "./stats.ts";

/**
 * What serves the tasks of a pod: one implementation for each level of isolation. Called from the pod's
 * queue, one call after the other, except `stats`, `figures` and `report`. Every call may be repeated, also one an
 * earlier daemon left half done, and finds the work done.
 */
export interface TaskKeeper {
  /** Of the level whose container is a machine. */
  readonly control?: MachineControl;
  /** The pod's sandbox, its network joined. Throws for a pod that the level cannot honour. */
  createSandbox(): Promise<void>;
  create(task: CreateTask): Promise<void>;
  start(process: ProcessRef, signal: AbortSignal): Promise<void>;
  kill(process: ProcessRef, kill: { signal: number; all: boolean }): Promise<void>;
  delete(process: ProcessRef): Promise<void>;
  addExec(exec: AddExec): Promise<void>;
  pause(id: string, signal: AbortSignal): Promise<void>;
  resume(id: string, signal: AbortSignal): Promise<void>;
  /** New limits of a task, OCI linux.resources as JSON. A machine's guest follows until `signal` aborts. */
  update(id: string, resources: Uint8Array, signal: AbortSignal): Promise<void>;
  resize(size: ResizeProcess): Promise<void>;
  /** Of the level whose container is a machine: what its guest is to have from now on. */
  giveSize?(id: string, size: GuestSize, signal: AbortSignal): Promise<void>;
  /** The task's truth, not the VMM's; zeros for a sandbox, which runs nothing. */
  stats(id: string, signal: AbortSignal): Promise<PodStats>;
  /** Of the pod's machine; undefined when none runs. */
  figures(signal: AbortSignal): Promise<MachineFigures | undefined>;
  /** What the machine's VMM says of itself; undefined when none runs. */
  report(signal: AbortSignal): Promise<MachineReport | undefined>;
  /** After a daemon's restart: the document says what was meant, shim and guest what is. */
  recover(): Promise<void>;
  /** Something happened that the shim has told. May come again. */
  apply(event: Event): Promise<void>;
  /** Lets go of everything; all of it runs on. */
  detach(): void;
}
