import { messageOf, sleep } from "@trine/base";
import type { Machine } from "@trine/vmm";
import type { PodContext } from "../pod-context.ts";
import { startPasst } from "./machine-passt.ts";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
/** One that ran for so long has ended for another reason than the one before. */
const SOUND_MS = 60_000;
const ANNOUNCE_MS = 20_000;

/**
 * Starts passt again under one machine, as often as it ends and until the machine does. Outside the pod's queue: one that
 * ends at once is waited for longer and longer, and the pod is stopped meanwhile like any other.
 */
export class PasstRevival {
  readonly #pod: PodContext;
  readonly #machine: Machine;
  readonly #life: AbortSignal;
  #isAsked = false;
  #isUnderWay = false;
  #waitMs = 0;
  /** When it was last seen to serve, on the monotonic clock. */
  #servedMs: number | undefined;

  constructor(pod: PodContext, machine: Machine, life: AbortSignal) {
    this.#pod = pod;
    this.#machine = machine;
    this.#life = life;
  }

  /** Has it started if it is not there; nothing for a machine without. */
  revive(): void {
    if (this.#pod.document.machine?.passt === undefined) return;
    this.#isAsked = true;
    if (!this.#isUnderWay) void this.#reviveAll();
  }

  /** It may end again while it is being started: then once more. */
  async #reviveAll(): Promise<void> {
    this.#isUnderWay = true;
    while (this.#isAsked && !hasEnded(this.#life)) {
      await this.#pause();
      this.#isAsked = false;
      await this.#attempt();
    }
    this.#isUnderWay = false;
  }

  async #pause(): Promise<void> {
    const now = performance.now();
    if (this.#servedMs !== undefined && now - this.#servedMs >= SOUND_MS) this.#waitMs = 0;
    this.#servedMs = undefined;
    await sleep(this.#waitMs, this.#life).catch(() => undefined); // an abort is the machine's end
    this.#waitMs = Math.min(Math.max(2 * this.#waitMs, FIRST_WAIT_MS), LONGEST_WAIT_MS);
  }

  /**
   * The VMM has waited for it; it learns the guest's MAC from what that sends, and lets nobody in before.
   */
  async #attempt(): Promise<void> {
    const { document, log } = this.#pod;
    if (document.machine === undefined || hasEnded(this.#life)) return;
    try {
      await startPasst(this.#pod, document.machine, this.#life);
      this.#servedMs = performance.now();
      const until = AbortSignal.any([this.#life, AbortSignal.timeout(ANNOUNCE_MS)]);
      await this.#machine.announce(until);
    } catch (cause) {
      if (hasEnded(this.#life)) return;
      const again = { err: messageOf(cause), againInMs: this.#waitMs };
      log.error(again, "passt does not start: the machine has no network");
      this.#isAsked = true;
    }
  }
}

function hasEnded(life: AbortSignal): boolean {
  return life.aborted;
}
