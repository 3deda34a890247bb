import { messageOf } from "@trine/base";
import type { Machine, MachineEvent, MachineStatus } from "@trine/vmm";
import type { PodContext } from "../pod-context.ts";
import { cleanText } from "./clean.ts";

const MONITOR_MS = 30_000;

/** What a guest that its VMM has stopped by itself is told to wait for; absent = it is no such state. */
const WORDS: Partial<Record<MachineStatus, string>> = {
  "io-error": "a disk could not be read or written",
  watchdog: "the guest did not feed its watchdog",
  crashed: "its processors cannot go on",
};

/** Whether the VMM has stopped the guest by itself, and why. Nothing of it is kept: the VMM knows. */
export class MachineHalt {
  readonly #pod: PodContext;
  readonly #machine: () => Machine | undefined;
  #status: MachineStatus | undefined;
  #why: string | undefined;
  #detail: string | undefined;
  /** Raised by `forget`: what was asked before holds no more. */
  #generation = 0;

  constructor(pod: PodContext, machine: () => Machine | undefined) {
    this.#pod = pod;
    this.#machine = machine;
  }

  /** In words; undefined where it has not. */
  get why(): string | undefined {
    return this.#why;
  }

  /** It goes on by a reset alone. */
  get isCrashed(): boolean {
    return this.#status === "crashed";
  }

  onEvent({ what, detail }: MachineEvent): void {
    if (what === "io-error") this.#detail = detail;
    if (what === "paused") void this.look();
    if (what === "running" || what === "reset") this.forget();
  }

  forget(): void {
    this.#generation += 1;
    this.#status = undefined;
    this.#why = undefined;
    this.#detail = undefined;
  }

  /** Asks the VMM. Never rejects: where it does not answer nothing is known. */
  async look(): Promise<void> {
    const machine = this.#machine();
    if (machine === undefined) return;
    const generation = this.#generation;
    try {
      const status = await machine.status(AbortSignal.timeout(MONITOR_MS));
      if (generation !== this.#generation) return;
      this.#status = status;
      const words = WORDS[status];
      const detail = this.#detail === undefined ? "" : ` (${cleanText(this.#detail)})`;
      const why = words === undefined ? undefined : `${words}${detail}`;
      if (why === this.#why) return;
      this.#why = why;
      if (why !== undefined) this.#pod.log.warn({ why }, "the VMM has stopped the guest");
      this.#pod.deps.changed?.();
    } catch (cause) {
      this.#pod.log.debug({ err: messageOf(cause) }, "whether the guest was stopped is not known");
    }
  }
}
