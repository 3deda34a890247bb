import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { TrineError } from "@trine/base";
import { checkSlotImage, checkSlotSize, checkTarget, growingDisk } from "./check-request.ts";
import { checkTemplate, identifyTemplate } from "./checked-template.ts";
import { EventQueue } from "./event-queue.ts";
import { FakeVmm } from "./fake-vmm.ts";
import { CONSOLE_CHANNEL, GUEST_AGENT_CHANNEL, VMM_KEY } from "./machine-driver.ts";
import type {
  Machine,
  MachineDriver,
  MachineEvent,
  MachineReport,
  MachineStats,
  MachineStatus,
} from "./machine-driver.ts";
import type { MachineSpec, SlotImage, SlotName, Template } from "./machine-spec.ts";
import { MemoryProcessHost } from "./memory-process-host.ts";
import type { ProcessHost, ProcessPlan } from "./process-host.ts";

const SIGKILL = 9;

/** A driver for machines in memory. Its hosts are `MemoryProcessHost`s that run `FakeVmm`. */
export class FakeDriver implements MachineDriver {
  readonly name = "fake";
  readonly can = { pause: true, hotplug: false, snapshot: false, templates: true };

  async start(spec: MachineSpec, host: ProcessHost, signal: AbortSignal): Promise<Machine> {
    signal.throwIfAborted();
    if (spec.origin !== undefined) await checkTemplate(spec.origin.template, fakeKey(spec));
    await host.spawn(fakePlan(spec));
    try {
      return await connect(spec, host, signal);
    } catch (cause) {
      await ignoreNotFound(host.signal(VMM_KEY, SIGKILL));
      const log = (await host.logTail?.(VMM_KEY)) ?? "";
      throw TrineError.during(
        `start machine ${spec.id}${log === "" ? "" : ` (${log.trim()})`}`,
        cause,
      );
    }
  }

  recover(spec: MachineSpec, host: ProcessHost, signal: AbortSignal): Promise<Machine> {
    return connect(spec, host, signal);
  }

  templateKey(spec: MachineSpec, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    return Promise.resolve(fakeKey(spec));
  }
}

/** Of what makes a machine another one; the fake has no more. */
function fakeKey(spec: MachineSpec): string {
  const { cpus, memoryBytes, maxCpus, memoryMaxBytes, slots, disks } = spec;
  const names = disks.map(({ name }) => name);
  const parts = [
    cpus,
    memoryBytes,
    maxCpus,
    memoryMaxBytes,
    slots?.readOnly,
    slots?.writable,
    names,
  ];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

function fakePlan(spec: MachineSpec): ProcessPlan {
  const broken = spec.disks.some((disk) => disk.path.includes("missing"));
  return {
    key: VMM_KEY,
    argv: [
      "fake-vmm",
      spec.id,
      ...(broken ? ["--broken"] : []),
      ...(spec.startsPaused === true ? ["--paused"] : []),
    ],
    env: [],
    descriptors: [
      { number: 3, kind: "channel", name: CONSOLE_CHANNEL, use: "console" },
      { number: 4, kind: "channel", name: GUEST_AGENT_CHANNEL, use: "held" },
    ],
    jail: { binds: [], newNetwork: true },
    exitRules: [
      { reason: "guest-shutdown", exitStatus: 0 },
      { reason: "host-signal", exitStatus: 143 },
    ],
  };
}

async function connect(
  spec: MachineSpec,
  host: ProcessHost,
  signal: AbortSignal,
): Promise<Machine> {
  await Promise.resolve(); // a process that is going to fail at once has failed now
  if (!(host instanceof MemoryProcessHost)) {
    throw new TrineError("invalid", "the fake driver needs a MemoryProcessHost");
  }
  const child = host.program(VMM_KEY);
  if (child?.running !== true || !(child.program instanceof FakeVmm)) {
    throw new TrineError("notFound", `machine ${spec.id}: its process is gone`);
  }
  if (child.program.stalled) {
    await new Promise((_, reject) => {
      signal.addEventListener("abort", () => {
        reject(signal.reason as Error);
      });
    });
  }
  return new FakeMachine(spec, host, child.program);
}

class FakeMachine implements Machine {
  readonly #spec: MachineSpec;
  readonly #host: ProcessHost;
  readonly #vmm: FakeVmm;
  readonly #detached = new AbortController();

  constructor(spec: MachineSpec, host: ProcessHost, vmm: FakeVmm) {
    this.#spec = spec;
    this.#host = host;
    this.#vmm = vmm;
  }

  status(signal: AbortSignal): Promise<MachineStatus> {
    return this.#call(signal, () => this.#vmm.state);
  }

  powerDown(signal: AbortSignal): Promise<void> {
    return this.#call(signal, () => {
      this.#vmm.pressPowerButton();
    });
  }

  pause(signal: AbortSignal): Promise<void> {
    return this.#call(signal, () => {
      this.#change("paused");
    });
  }

  resume(signal: AbortSignal): Promise<void> {
    return this.#call(signal, () => {
      this.#change("running");
    });
  }

  reset(signal: AbortSignal): Promise<void> {
    return this.#call(signal, () => {
      this.#vmm.emit("reset", "host-qmp-system-reset");
    });
  }

  onPowerOff(action: "end" | "stay", signal: AbortSignal): Promise<void> {
    return this.#call(signal, () => {
      this.#vmm.staysOff = action === "stay";
    });
  }

  startAgain(signal: AbortSignal): Promise<boolean> {
    return this.#call(signal, () => this.#vmm.startAgain());
  }

  announce(signal: AbortSignal): Promise<void> {
    return this.#call(signal, () => undefined);
  }

  kill(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    return ignoreNotFound(this.#host.signal(VMM_KEY, SIGKILL));
  }

  stats(signal: AbortSignal): Promise<MachineStats> {
    return this.#call(signal, () => ({
      cpus: this.#vmm.cpus ?? this.#spec.cpus,
      cpuNs: 1_000_000n,
      vcpus: Array.from({ length: this.#vmm.cpus ?? this.#spec.cpus }, (_, id) => ({ id, ns: 0n })),
      memory: { totalBytes: this.#vmm.memoryBytes ?? this.#spec.memoryBytes },
      disks: this.#spec.disks.map(({ name }) => ({
        ...{ name, readBytes: 0n, writtenBytes: 0n, reads: 0n, writes: 0n, flushes: 0n },
        ...{ readNs: 0n, writeNs: 0n, flushNs: 0n },
      })),
    }));
  }

  diskBytes(signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
    const sizes = this.#spec.disks.map(
      ({ name }) => [name, this.#vmm.diskBytes.get(name) ?? 512] as const,
    );
    return this.#call(signal, () => new Map(sizes));
  }

  report(signal: AbortSignal): Promise<MachineReport> {
    return this.#call(signal, () => ({ answers: { state: this.#vmm.state }, failures: {} }));
  }

  fillSlot(name: SlotName, image: SlotImage, signal: AbortSignal): Promise<void> {
    return this.#call(signal, () => {
      checkSlotImage(this.#spec, name, image);
      const old = this.#vmm.slots.get(name) ?? image.path;
      if (old !== image.path) throw new TrineError("wrongState", `${name} holds ${old}`);
      this.#vmm.slots.set(name, image.path);
    });
  }

  emptySlot(name: SlotName, signal: AbortSignal): Promise<void> {
    return this.#call(signal, () => {
      checkSlotImage(this.#spec, name);
      this.#vmm.slots.delete(name);
    });
  }

  resizeSlot(name: SlotName, bytes: number, signal: AbortSignal, overlay?: string): Promise<void> {
    return this.#call(signal, () => {
      checkSlotSize(this.#spec, name, bytes, overlay);
    });
  }

  growDisk(name: string, bytes: number, signal: AbortSignal): Promise<boolean> {
    return this.#call(signal, () => {
      growingDisk(this.#spec, name, bytes);
      const grown = bytes > (this.#vmm.diskBytes.get(name) ?? 0);
      if (grown) this.#vmm.diskBytes.set(name, bytes);
      return grown;
    });
  }

  resizeMemory(bytes: number, signal: AbortSignal): Promise<void> {
    return this.#call(signal, () => {
      checkTarget(this.#spec, "memory", bytes);
      this.#vmm.memoryBytes = bytes;
    });
  }

  resizeCpus(count: number, signal: AbortSignal): Promise<number> {
    return this.#call(signal, () => {
      checkTarget(this.#spec, "cpus", count);
      this.#vmm.cpus = count;
      return count;
    });
  }

  async saveTemplate(statePath: string, signal: AbortSignal): Promise<Template> {
    signal.throwIfAborted();
    if (this.#spec.isTemplate !== true) {
      throw new TrineError("wrongState", `machine ${this.#spec.id} was not made for a template`);
    }
    await writeFile(statePath, `state of ${this.#spec.id}`, { mode: 0o600 });
    await this.kill(signal);
    const files = { memoryPath: (await this.#host.sealMemory("memory")).path, statePath };
    return { key: fakeKey(this.#spec), ...files, ...(await identifyTemplate(files)) };
  }

  events(signal: AbortSignal): AsyncIterable<MachineEvent> {
    const until = AbortSignal.any([signal, this.#detached.signal]);
    const queue = new EventQueue<MachineEvent>({
      signal: until,
      onEnd: () => {
        unlisten();
      },
    });
    const unlisten = this.#vmm.listen((event) => {
      if (event === undefined) queue.end();
      else queue.push(event);
    });
    return queue;
  }

  detach(): void {
    this.#detached.abort();
  }

  #change(state: "running" | "paused"): void {
    if (this.#vmm.state === "off")
      throw new TrineError("wrongState", `machine ${this.#spec.id} is off`);
    this.#vmm.set(state);
  }

  async #call<T>(signal: AbortSignal, answer: () => T): Promise<T> {
    await Promise.resolve();
    signal.throwIfAborted();
    return answer();
  }
}

async function ignoreNotFound(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (cause) {
    if (!(cause instanceof TrineError && cause.kind === "notFound")) throw cause;
  }
}
