import type { MachineEvent, MachineStatus } from "./machine-driver.ts";
import type { MemoryProcess, MemoryProgram } from "./memory-process-host.ts";

export interface FakeVmmOptions {
  /** False: the guest ignores the power button. */
  readonly obeys: boolean;
  /** The monitor never answers. */
  readonly stalled: boolean;
}

const SIGTERM = 15;

/** A virtual machine monitor in memory: its state lives and dies with its process. */
export class FakeVmm implements MemoryProgram {
  readonly #process: MemoryProcess;
  readonly #options: FakeVmmOptions;
  readonly #listeners = new Set<(event: MachineEvent | undefined) => void>();
  state: MachineStatus = "running";
  /** Path of what is in a slot. */
  readonly slots = new Map<string, string>();
  /** Of disks that have grown. */
  readonly diskBytes = new Map<string, number>();
  /** Memory and CPUs asked for since it started. */
  memoryBytes: number | undefined;
  cpus: number | undefined;
  /** A guest that powers itself off leaves its process. */
  staysOff = false;

  constructor(process: MemoryProcess, options: FakeVmmOptions) {
    this.#process = process;
    this.#options = options;
    if (process.plan.argv.includes("--paused")) this.state = "paused";
    // What a real monitor refuses it refuses after exec, with a line in its log.
    if (process.plan.argv.includes("--broken")) {
      process.print("fake-vmm: cannot open disk");
      queueMicrotask(() => {
        process.exit(1);
      });
    }
  }

  get stalled(): boolean {
    return this.#options.stalled;
  }

  onSignal(signal: number): void {
    if (signal === SIGTERM) this.#process.exit(0, "host-signal");
  }

  onExit(): void {
    this.state = "off";
    for (const listener of this.#listeners) listener(undefined);
  }

  pressPowerButton(): void {
    if (!this.#options.obeys || this.state !== "running") return;
    this.emit("shutdown", "guest-shutdown");
    if (this.staysOff) {
      this.state = "off";
      return;
    }
    this.#process.exit(0, "guest-shutdown");
  }

  startAgain(): boolean {
    if (this.state !== "off") return false;
    this.state = "running";
    this.emit("reset", "host-qmp-system-reset");
    return true;
  }

  set(state: "running" | "paused"): void {
    if (this.state === state) return;
    this.state = state;
    this.emit(state);
  }

  emit(what: MachineEvent["what"], detail?: string): void {
    const event = { at: new Date(), what, ...(detail === undefined ? {} : { detail }) };
    for (const listener of this.#listeners) listener(event);
  }

  /** Called with each event, and with undefined at the end. Answers how to stop listening. */
  listen(listener: (event: MachineEvent | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
