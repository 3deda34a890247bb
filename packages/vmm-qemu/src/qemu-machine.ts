import { TrineError, kindOf } from "@trine/base";
import type { QmpClient, QmpEvent } from "@trine/qmp";
import { VMM_KEY } from "@trine/vmm";
import type {
  Machine,
  MachineEvent,
  MachineSpec,
  MachineStats,
  MachineStatus,
  ProcessHost,
} from "@trine/vmm";
import { toMachineEvent, toMachineStatus } from "./machine-events.ts";
import { readStats } from "./machine-stats.ts";
import type { QmpLink } from "./qmp-link.ts";

const SIGKILL = 9;

/** A QEMU process seen through its monitor. Each call finds the monitor again when it was lost. */
export class QemuMachine implements Machine {
  readonly #spec: MachineSpec;
  readonly #host: ProcessHost;
  readonly #link: QmpLink;

  constructor(spec: MachineSpec, host: ProcessHost, link: QmpLink) {
    this.#spec = spec;
    this.#host = host;
    this.#link = link;
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

  async resume(signal: AbortSignal): Promise<void> {
    this.#orOff(await this.#ask(signal, (client) => client.execute("cont", {}, { signal })));
  }

  async kill(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await killVmm(this.#host);
  }

  async stats(signal: AbortSignal): Promise<MachineStats> {
    return this.#orOff(await this.#ask(signal, (client) => readStats(this.#spec, client, signal)));
  }

  events(signal: AbortSignal): AsyncIterable<MachineEvent> {
    // Taken now, so that nothing is missed between this call and the first read.
    const events = this.#link.current?.events(signal);
    return this.#translate(events, signal);
  }

  detach(): void {
    this.#link.detach();
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

  #orOff<T>(answer: T | undefined): T {
    if (answer !== undefined) return answer;
    throw new TrineError("wrongState", `machine ${this.#spec.id} is off`);
  }
}

/** Ends the VMM at once; one that has ended is a success. */
export async function killVmm(host: ProcessHost): Promise<void> {
  try {
    await host.signal(VMM_KEY, SIGKILL);
  } catch (cause) {
    if (kindOf(cause) !== "notFound") throw cause;
  }
}
