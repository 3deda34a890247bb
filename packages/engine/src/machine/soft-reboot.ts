import { TrineError, messageOf, sleep } from "@trine/base";
import type { Machine, MachineStatus } from "@trine/vmm";
import type { PodContext } from "../pod-context.ts";

/** How long a guest may take to power itself off; after that one that does ends the machine again. */
const PATIENCE_MS = 5 * 60 * 1_000;
const LOOK_MS = 500;
const MONITOR_MS = 30_000;

/**
 * A machine whose guest is to begin anew and has nobody in it who could be asked: the power button, and a reset when the guest
 * has powered itself off. Until then the VMM stays where it would end, so that it is written down before: a daemon that comes
 * back does the rest.
 */
export class SoftReboot {
  readonly #pod: PodContext;
  #over = new AbortController();
  #carried: Promise<void> = Promise.resolve();

  constructor(pod: PodContext) {
    this.#pod = pod;
  }

  /** Kind `wrongState` for a machine that does not run, or is to end. */
  requireRunning(): void {
    const state = this.#pod.document.machine?.state;
    if (state === undefined || state === "running") return;
    const name = `machine of pod ${this.#pod.identity.name}`;
    throw new TrineError("wrongState", `${name}: cannot reboot one that is ${state}`);
  }

  /** The guest has heard the button when this resolves, or it will; asked again it goes on. */
  async begin(machine: Machine, life: AbortSignal): Promise<void> {
    this.requireRunning();
    const record = this.#pod.document.machine;
    if (record === undefined || record.rebootUntil !== undefined) return;
    const over = (this.#over = new AbortController());
    record.rebootUntil = new Date(this.#pod.deps.now().getTime() + PATIENCE_MS).toISOString();
    await this.#pod.save();
    try {
      this.requireRunning();
    } catch (cause) {
      await this.#forget();
      throw cause;
    }
    // Else whoever is to end the machine has called it off meanwhile.
    if (!over.signal.aborted) this.#carry(machine, life);
  }

  /** After a daemon's restart. */
  resume(machine: Machine, life: AbortSignal): void {
    if (this.#pod.document.machine?.rebootUntil !== undefined) this.#carry(machine, life);
  }

  /** Calls it off: from now on a guest that powers itself off ends its machine. Rejects while that is not so. */
  async cancel(machine: Machine): Promise<void> {
    if (this.#pod.document.machine?.rebootUntil === undefined) return;
    this.stop();
    await this.#carried;
    const until = AbortSignal.timeout(MONITOR_MS);
    await machine.onPowerOff("end", until);
    await this.#forget();
    // It has done so already.
    if (isOff(await machine.status(until))) await machine.kill(until);
  }

  /** The machine has ended, or this daemon lets go of it. */
  stop(): void {
    this.#over.abort();
  }

  #carry(machine: Machine, life: AbortSignal): void {
    this.#over = new AbortController();
    const until = AbortSignal.any([life, this.#over.signal]);
    this.#carried = this.#pressUntilOff(machine, until).catch((cause: unknown) => {
      if (!until.aborted) this.#pod.log.error({ err: messageOf(cause) }, "soft reboot");
    });
  }

  async #pressUntilOff(machine: Machine, until: AbortSignal): Promise<void> {
    const { log } = this.#pod;
    for (;;) {
      try {
        await this.#once(machine, until);
        return;
      } catch (cause) {
        until.throwIfAborted();
        log.warn({ err: messageOf(cause) }, "soft reboot: the monitor fails");
      }
      await sleep(LOOK_MS, until);
    }
  }

  async #once(machine: Machine, until: AbortSignal): Promise<void> {
    const { log } = this.#pod;
    const bounded = (): AbortSignal => AbortSignal.any([until, AbortSignal.timeout(MONITOR_MS)]);
    const wentOff = await this.#waitOff(machine, until, bounded);
    // Without an ear for the button it would stay for ever when it powers itself off another day.
    if (!wentOff) await machine.onPowerOff("end", bounded());
    const started = await machine.startAgain(bounded());
    if (wentOff) await machine.onPowerOff("end", bounded());
    await this.#forget();
    if (wentOff || started) log.info("the guest has powered itself off, and begins anew");
    else log.warn("the guest did not obey the power button: it runs on");
  }

  /**
   * Presses the button until the guest is off, or its time is over. That it was off is written down before it begins anew: what
   * fails after that is gone on with, and presses no button of a guest that has just booted.
   */
  async #waitOff(
    machine: Machine,
    until: AbortSignal,
    bounded: () => AbortSignal,
  ): Promise<boolean> {
    const { deps, document } = this.#pod;
    const record = document.machine;
    if (record?.rebootOff === true) return true;
    // One that ends at a reboot ends by the button too.
    if (record?.spec.hardware?.endsOnReboot !== true) await machine.onPowerOff("stay", bounded());
    const end = Date.parse(record?.rebootUntil ?? "");
    let pressedAt = -Infinity;
    while (deps.now().getTime() < end) {
      if (isOff(await machine.status(bounded()))) {
        if (record !== undefined) record.rebootOff = true;
        await this.#pod.save();
        return true;
      }
      if (performance.now() - pressedAt >= deps.config.machines.powerButtonEveryMs) {
        await machine.powerDown(bounded());
        pressedAt = performance.now();
      }
      await sleep(LOOK_MS, until);
    }
    return false;
  }

  async #forget(): Promise<void> {
    const record = this.#pod.document.machine;
    if (record?.rebootUntil === undefined) return;
    delete record.rebootUntil;
    delete record.rebootOff;
    await this.#pod.save();
  }
}

/** `starting`: its reset was granted, and then nobody had it go on. */
function isOff(status: MachineStatus): boolean {
  return status === "off" || status === "starting";
}
