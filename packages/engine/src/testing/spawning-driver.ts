import { TrineError } from "@trine/base";
import { VMM_KEY, checkSlotSize, checkTarget, growingDisk } from "@trine/vmm";
import type { Machine, MachineDriver, MachineSpec, MachineStatus, ProcessHost } from "@trine/vmm";

/**
 * A driver for the engine's tests: its VMM is a child the host keeps, its guest obeys at once what
 * `onPowerDown` makes of it.
 */
export class SpawningDriver implements MachineDriver {
  readonly name = "spawning";
  readonly can = { pause: true, hotplug: false, snapshot: false, templates: false };
  readonly recovered: string[] = [];
  /** What is in the machine's slots. */
  readonly slots = new Map<string, string>();
  /** What the guest was told of the sizes of its slots. */
  readonly slotBytes = new Map<string, number>();
  /** What the guest was told of the sizes of its disks. */
  readonly diskBytes = new Map<string, number>();
  /** Slots that cannot be emptied, and why. */
  readonly stuckSlots = new Map<string, Error>();
  onPowerDown: () => void = () => undefined;
  /** The guest has powered itself off, and its VMM stays. */
  isOff = false;
  failStartAgain: Error | undefined;
  /** What becomes of a machine whose guest does. */
  onGuestOff: "end" | "stay" = "end";
  /** The VMM has stopped the guest by itself. */
  halted: MachineStatus | undefined;
  failResume: Error | undefined;
  resumes = 0;
  powerDowns = 0;
  resets = 0;
  failStart: Error | undefined;
  failRecover: Error | undefined;
  /** The next monitor is lost as soon as its events are read. */
  loseMonitor = false;
  /** What the newest machine has: its spec's, and what it was given since. */
  readonly size = { cpus: 0, memoryBytes: 0 };
  /** Its guest does not follow so many changes of its size. */
  failResizes = 0;
  /** It never takes a CPU back. */
  keepsCpus = false;
  /** It takes no change of its size, nor says so. */
  isDeaf = false;
  /** What a deaf guest was offered. */
  readonly offered = { cpus: 0, memoryBytes: 0 };
  /** Times a machine's events were read. */
  followed = 0;
  /** Machines whose monitor is held now. */
  attached = 0;

  async start(spec: MachineSpec, host: ProcessHost): Promise<Machine> {
    if (this.failStart !== undefined) {
      const failure = this.failStart;
      this.failStart = undefined;
      throw failure;
    }
    await host.spawn({
      key: VMM_KEY,
      argv: ["vmm", spec.id],
      env: [],
      descriptors: [],
      jail: { binds: [], newNetwork: true },
      exitRules: [],
    });
    const { cpus, memoryBytes } = spec;
    Object.assign(this.size, { cpus, memoryBytes });
    return this.#machine(spec, host);
  }

  recover(spec: MachineSpec, host: ProcessHost): Promise<Machine> {
    if (this.failRecover !== undefined) {
      const failure = this.failRecover;
      this.failRecover = undefined;
      return Promise.reject(failure);
    }
    this.recovered.push(spec.id);
    return Promise.resolve(this.#machine(spec, host));
  }

  templateKey(): Promise<string> {
    return cannot();
  }

  #machine(spec: MachineSpec, host: ProcessHost): Machine {
    let status: MachineStatus = "running";
    let isAttached = true;
    this.attached += 1;
    const set = (to: MachineStatus) => (): Promise<void> => {
      status = to;
      return Promise.resolve();
    };
    return {
      status: () => Promise.resolve(this.isOff ? "off" : (this.halted ?? status)),
      powerDown: () => {
        this.powerDowns += 1;
        this.onPowerDown();
        return Promise.resolve();
      },
      pause: set("paused"),
      resume: () => {
        this.resumes += 1;
        if (this.failResume !== undefined) return Promise.reject(this.failResume);
        this.halted = undefined;
        return set("running")();
      },
      reset: () => {
        this.resets += 1;
        return Promise.resolve();
      },
      onPowerOff: (action) => {
        this.onGuestOff = action;
        return Promise.resolve();
      },
      startAgain: () => {
        if (this.failStartAgain !== undefined) return Promise.reject(this.failStartAgain);
        const wasOff = this.isOff;
        this.isOff = false;
        return Promise.resolve(wasOff);
      },
      announce: () => Promise.resolve(),
      kill: () => host.signal(VMM_KEY, 9),
      stats: () =>
        Promise.resolve({
          cpus: this.size.cpus,
          cpuNs: 0n,
          vcpus: [],
          memory: { totalBytes: this.size.memoryBytes },
          disks: [],
        }),
      diskBytes: () => Promise.resolve(this.diskBytes),
      report: () => Promise.resolve({ answers: { status }, failures: {} }),
      fillSlot: (name, { path }) => {
        const holds = this.slots.get(name) ?? path;
        if (holds !== path) return Promise.reject(new TrineError("wrongState", `holds ${holds}`));
        this.slots.set(name, path);
        return Promise.resolve();
      },
      emptySlot: (name) => {
        const wrong = this.stuckSlots.get(name);
        if (wrong !== undefined) return Promise.reject(wrong);
        this.slots.delete(name);
        return Promise.resolve();
      },
      resizeSlot: (name, bytes, _, overlay) => {
        checkSlotSize(spec, name, bytes, overlay);
        this.slotBytes.set(name, bytes);
        return Promise.resolve();
      },
      growDisk: (name, bytes) => {
        growingDisk(spec, name, bytes);
        const grown = bytes > (this.diskBytes.get(name) ?? 0);
        if (grown) this.diskBytes.set(name, bytes);
        return Promise.resolve(grown);
      },
      resizeMemory: (memoryBytes) => this.#resize(spec, "memory", { memoryBytes }),
      resizeCpus: async (cpus) => {
        const there = this.keepsCpus ? Math.max(cpus, this.size.cpus) : cpus;
        await this.#resize(spec, "cpus", { cpus: there });
        return there;
      },
      saveTemplate: cannot,
      events: (signal) => this.#events(signal),
      detach: () => {
        if (isAttached) this.attached -= 1;
        isAttached = false;
      },
    };
  }

  async #resize(
    spec: MachineSpec,
    what: "memory" | "cpus",
    to: { memoryBytes: number } | { cpus: number },
  ): Promise<void> {
    const [target] = Object.values(to);
    checkTarget(spec, what, target ?? 0);
    if (this.failResizes > 0) {
      this.failResizes -= 1;
      throw new TrineError("timeout", "the guest does not follow");
    }
    Object.assign(this.isDeaf ? this.offered : this.size, to);
    return Promise.resolve();
  }

  async *#events(signal: AbortSignal): AsyncGenerator<never> {
    this.followed += 1;
    const isLost = this.loseMonitor;
    this.loseMonitor = false;
    if (!isLost) {
      await new Promise((resolve) => {
        signal.addEventListener("abort", resolve, { once: true });
      });
    }
    yield* [];
  }
}

function cannot(): Promise<never> {
  return Promise.reject(new TrineError("unimplemented", "the spawning driver cannot do that"));
}
