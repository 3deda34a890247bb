import { SerialQueue, TrineError, kindOf, pollUntil } from "@trine/base";
import type { QmpClient, QmpEvent } from "@trine/qmp";
import {
  VMM_KEY,
  checkSlotImage,
  checkSlotSize,
  checkTarget,
  growingDisk,
  identifyTemplate,
} from "@trine/vmm";
import type {
  Machine,
  MachineEvent,
  MachineReport,
  MachineSpec,
  MachineStats,
  MachineStatus,
  ProcessHost,
  SlotImage,
  SlotName,
  Template,
} from "@trine/vmm";
import { diskBytes } from "./disk-bytes.ts";
import { growDisk } from "./grow-disk.ts";
import { toMachineEvent, toMachineStatus } from "./machine-events.ts";
import { readReport } from "./machine-report.ts";
import { readStats } from "./machine-stats.ts";
import { MEMORY_NAME } from "./plan-memory.ts";
import type { QmpLink } from "./qmp-link.ts";
import { resizeCpus, resizeMemory } from "./resize.ts";
import { emptySlot, fillSlot, growReadOnlySlot, resizeSlot } from "./slot-images.ts";
import { startAgain } from "./start-again.ts";
import { saveState } from "./template-state.ts";

const SIGKILL = 9;
const END_MS = 10_000;

/** A QEMU process seen through its monitor. Each call finds the monitor again when it was lost. */
export class QemuMachine implements Machine {
  readonly #spec: MachineSpec;
  readonly #host: ProcessHost;
  readonly #link: QmpLink;
  readonly #templateKey: (spec: MachineSpec, signal: AbortSignal) => Promise<string>;
  /** Changes of a slot, each slot's its own: each is several commands that build on each other. */
  readonly #slots = new Map<SlotName, SerialQueue>();

  constructor(
    spec: MachineSpec,
    host: ProcessHost,
    link: QmpLink,
    templateKey: (spec: MachineSpec, signal: AbortSignal) => Promise<string>,
  ) {
    this.#spec = spec;
    this.#host = host;
    this.#link = link;
    this.#templateKey = templateKey;
  }

  async status(signal: AbortSignal): Promise<MachineStatus> {
    const answer = await this.#ask(signal, (client) =>
      client.execute("query-status", {}, { signal }),
    );
    return answer === undefined ? "off" : toMachineStatus(answer.status);
  }

  async powerDown(signal: AbortSignal): Promise<void> {
    await this.#ask(signal, (client) => client.execute("system_powerdown", {}, { signal }));
  }

  async pause(signal: AbortSignal): Promise<void> {
    this.#orOff(await this.#ask(signal, (client) => client.execute("stop", {}, { signal })));
  }

  async reset(signal: AbortSignal): Promise<void> {
    await this.#command(signal, async (client) => {
      await client.execute("system_reset", {}, { signal });
    });
  }

  async onPowerOff(action: "end" | "stay", signal: AbortSignal): Promise<void> {
    const shutdown = action === "end" ? "poweroff" : "pause";
    await this.#command(signal, async (client) => {
      await client.execute("set-action", { shutdown }, { signal });
    });
  }

  async startAgain(signal: AbortSignal): Promise<boolean> {
    return this.#orOff(await this.#ask(signal, (client) => startAgain(client, signal)));
  }

  async announce(signal: AbortSignal): Promise<void> {
    // Again and again for seconds: whoever is to hear it may not be there yet.
    const times = { initial: 50, max: 1000, rounds: 8, step: 150 };
    await this.#command(signal, async (client) => {
      await client.execute("announce-self", times, { signal });
    });
  }

  async resume(signal: AbortSignal): Promise<void> {
    await this.#command(signal, async (client) => {
      const { status } = await client.execute("query-status", {}, { signal });
      if (status === "postmigrate") {
        throw new TrineError(
          "wrongState",
          `machine ${this.#spec.id} is a template: it runs no more`,
        );
      }
      await client.execute("cont", {}, { signal });
    });
  }

  async kill(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await killVmm(this.#host);
  }

  async stats(signal: AbortSignal): Promise<MachineStats> {
    return this.#orOff(await this.#ask(signal, (client) => readStats(this.#spec, client, signal)));
  }

  async diskBytes(signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
    return this.#orOff(await this.#ask(signal, (client) => diskBytes(this.#spec, client, signal)));
  }

  async report(signal: AbortSignal): Promise<MachineReport> {
    return this.#orOff(await this.#ask(signal, (client) => readReport(client, signal)));
  }

  async fillSlot(name: SlotName, image: SlotImage, signal: AbortSignal): Promise<void> {
    checkSlotImage(this.#spec, name, image);
    await this.#slot(name).run(() =>
      this.#command(signal, (client) => fillSlot(client, name, image, signal)),
    );
  }

  async emptySlot(name: SlotName, signal: AbortSignal): Promise<void> {
    checkSlotImage(this.#spec, name);
    await this.#slot(name).run(() =>
      this.#command(signal, (client) => emptySlot(client, name, signal)),
    );
  }

  async resizeSlot(
    name: SlotName,
    bytes: number,
    signal: AbortSignal,
    overlay?: string,
  ): Promise<void> {
    checkSlotSize(this.#spec, name, bytes, overlay);
    await this.#slot(name).run(() =>
      this.#command(signal, (client) =>
        overlay === undefined
          ? resizeSlot(client, name, bytes, signal)
          : growReadOnlySlot(client, name, { bytes, overlay }, signal),
      ),
    );
  }

  async growDisk(name: string, bytes: number, signal: AbortSignal): Promise<boolean> {
    const disk = growingDisk(this.#spec, name, bytes);
    return this.#orOff(await this.#ask(signal, (client) => growDisk(client, disk, bytes, signal)));
  }

  async resizeMemory(bytes: number, signal: AbortSignal): Promise<void> {
    checkTarget(this.#spec, "memory", bytes);
    await this.#command(signal, (client) => resizeMemory(this.#spec, client, bytes, signal));
  }

  async resizeCpus(count: number, signal: AbortSignal): Promise<number> {
    checkTarget(this.#spec, "cpus", count);
    return this.#command(signal, (client) => resizeCpus(this.#spec, client, count, signal));
  }

  async saveTemplate(statePath: string, signal: AbortSignal): Promise<Template> {
    const { id, isTemplate } = this.#spec;
    if (isTemplate !== true) {
      throw new TrineError("wrongState", `machine ${id} was not made for a template`);
    }
    const key = await this.#templateKey(this.#spec, signal);
    const { machineDir } = this.#host;
    await this.#command(signal, (client) => saveState(client, machineDir, statePath, signal));
    await this.kill(signal);
    const files = { memoryPath: await sealedMemory(this.#host), statePath };
    return { key, ...files, ...(await identifyTemplate(files)) };
  }

  events(signal: AbortSignal): AsyncIterable<MachineEvent> {
    // Taken now, so that nothing is missed between this call and the first read.
    const events = this.#link.current?.events(signal);
    return this.#translate(events, signal);
  }

  detach(): void {
    this.#link.detach();
  }

  #slot(name: SlotName): SerialQueue {
    const queue = this.#slots.get(name) ?? new SerialQueue();
    this.#slots.set(name, queue);
    return queue;
  }

  async *#translate(
    from: AsyncIterable<QmpEvent> | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<MachineEvent> {
    const events = from ?? (await this.#link.get(signal))?.events(signal) ?? [];
    for await (const event of events) {
      const translated = toMachineEvent(event);
      if (translated !== undefined) yield translated;
    }
  }

  /** Undefined when the process is gone. Commands here may be repeated, so a lost answer is asked again. */
  async #ask<T>(
    signal: AbortSignal,
    question: (client: QmpClient) => Promise<T>,
  ): Promise<T | undefined> {
    for (let attempt = 0; ; attempt += 1) {
      const client = await this.#link.get(signal);
      if (client === undefined) return undefined;
      try {
        return await question(client);
      } catch (cause) {
        if (kindOf(cause) !== "unavailable" || attempt > 0) throw cause;
        await client.closed;
      }
    }
  }

  async #command<T>(signal: AbortSignal, work: (client: QmpClient) => Promise<T>): Promise<T> {
    const ask = async (client: QmpClient): Promise<{ done: T }> => ({ done: await work(client) });
    return this.#orOff(await this.#ask(signal, ask)).done;
  }

  #orOff<T>(answer: T | undefined): T {
    if (answer !== undefined) return answer;
    throw new TrineError("wrongState", `machine ${this.#spec.id} is off`);
  }
}

/** Where the memory is found; it cannot be sealed before its VMM is quite gone. */
async function sealedMemory(host: ProcessHost): Promise<string> {
  const sealing = { ms: END_MS, everyMs: 10 };
  return pollUntil("the memory is sealed", sealing, async () => {
    try {
      return (await host.sealMemory(MEMORY_NAME)).path;
    } catch (cause) {
      if (kindOf(cause) !== "wrongState") throw cause;
      return undefined;
    }
  });
}

/** Ends the VMM at once; one that has ended is a success. */
export function killVmm(host: ProcessHost): Promise<void> {
  return killChild(host, VMM_KEY);
}

export async function killChild(host: ProcessHost, key: string): Promise<void> {
  try {
    await host.signal(key, SIGKILL);
  } catch (cause) {
    if (kindOf(cause) !== "notFound") throw cause;
  }
}
