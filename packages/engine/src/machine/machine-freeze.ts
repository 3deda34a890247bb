import { TrineError, messageOf, sleep } from "@trine/base";
import type { GuestVoice, RequestOptions } from "@trine/guest-link";
import type { PodContext } from "../pod-context.ts";

const FREEZE_MS = 30_000;
const THAW_MS = 10_000;
const AGAIN_MS = 5_000;
const LONGEST_MS = 24 * 60 * 60 * 1_000;

/**
 * The guest's file systems, standing still for a while. When to thaw is written down before they are frozen: whoever asked may
 * die, and so may this daemon; the next one thaws what is overdue.
 */
export class MachineFreeze {
  readonly #pod: PodContext;
  readonly #agent: () => Promise<GuestVoice>;
  readonly #voices: () => readonly GuestVoice[];
  #timer = new AbortController();

  /** `agent` rejects where there is none; `voices`: whoever may speak for the guest. */
  constructor(
    pod: PodContext,
    agent: () => Promise<GuestVoice>,
    voices: () => readonly GuestVoice[],
  ) {
    this.#pod = pod;
    this.#agent = agent;
    this.#voices = voices;
  }

  /** Kind `invalid` for a time that is none; freezing again sets the time anew. */
  async freeze(forMs: number, life: AbortSignal): Promise<void> {
    const record = this.#pod.document.machine;
    if (record === undefined) return;
    if (!Number.isFinite(forMs) || forMs <= 0 || forMs > LONGEST_MS) {
      throw new TrineError("invalid", `freeze for ${forMs} ms: 1 to ${LONGEST_MS} are possible`);
    }
    const holder = this.#voices().find(({ name }) => name === record.frozenBy);
    const agent = holder ?? (await this.#agent());
    const isRenewed = await this.#standsStill(agent);
    record.frozenUntil = new Date(this.#pod.deps.now().getTime() + forMs).toISOString();
    record.frozenBy = agent.name;
    await this.#pod.save();
    this.#arm(life);
    // Somewhat later than this daemon does, which is to say so.
    const byItself = Math.min(forMs + THAW_MS, LONGEST_MS);
    if (!isRenewed || agent.name === "trine")
      await agent.freeze({ timeoutMs: FREEZE_MS, forMs: byItself });
  }

  /** An agent for which another has thawed the guest says "frozen" still, and would freeze nothing: it is to thaw first. */
  async #standsStill(agent: GuestVoice): Promise<boolean> {
    if (!(await agent.isFrozen({ timeoutMs: THAW_MS }))) return false;
    if (this.#pod.document.machine?.frozenUntil !== undefined) return true;
    await agent.thaw({ timeoutMs: THAW_MS });
    return false;
  }

  async thaw(): Promise<void> {
    await this.#tellThaw({ timeoutMs: THAW_MS });
    this.#timer.abort();
    await this.#forget();
  }

  /** The guest begins anew: nothing of it stands still. Never rejects. */
  async reset(): Promise<void> {
    this.#timer.abort();
    await this.#forget().catch((cause: unknown) => {
      this.#pod.log.warn({ err: messageOf(cause) }, "a freeze that is over is noted still");
    });
  }

  /** After a daemon's restart. */
  resume(life: AbortSignal): void {
    if (this.#pod.document.machine?.frozenUntil !== undefined) this.#arm(life);
  }

  stop(): void {
    this.#timer.abort();
  }

  #arm(life: AbortSignal): void {
    this.#timer.abort();
    this.#timer = new AbortController();
    const until = AbortSignal.any([life, this.#timer.signal]);
    void this.#thawLater(until).catch((cause: unknown) => {
      if (!until.aborted) this.#pod.log.error({ err: messageOf(cause) }, "thaw");
    });
  }

  async #thawLater(until: AbortSignal): Promise<void> {
    const at = Date.parse(this.#pod.document.machine?.frozenUntil ?? "");
    await sleep(Math.max(0, at - this.#pod.deps.now().getTime()), until);
    for (;;) {
      try {
        await this.#tellThaw({ timeoutMs: THAW_MS, signal: until });
        break;
      } catch (cause) {
        until.throwIfAborted();
        this.#pod.log.warn({ err: messageOf(cause) }, "the guest is frozen still: thaw failed");
      }
      await sleep(AGAIN_MS, until);
    }
    this.#pod.log.warn("the guest's file systems were thawed: their time was over");
    await this.#forget();
  }

  /** To the agent that has frozen it; where that does not answer to the others too, of which an older one may have thawed nothing. */
  async #tellThaw(options: RequestOptions): Promise<void> {
    const by = this.#pod.document.machine?.frozenBy;
    if (by === undefined) {
      await (await this.#agent()).thaw(options);
      return;
    }
    const all = this.#voices();
    const holders = all.filter(({ name }) => name === by);
    let why: unknown;
    for (const voice of [...holders, ...all.filter(({ name }) => name !== by)]) {
      try {
        const thawed = await voice.thaw(options);
        if (thawed === "all" || (thawed === "own" && voice.name === by)) return;
      } catch (cause) {
        options.signal?.throwIfAborted();
        why ??= cause;
      }
    }
    const text = "no agent says that the guest's file systems are all thawed";
    throw new TrineError("unavailable", text, { cause: why });
  }

  async #forget(): Promise<void> {
    const record = this.#pod.document.machine;
    if (record?.frozenUntil === undefined) return;
    delete record.frozenUntil;
    delete record.frozenBy;
    await this.#pod.save();
  }
}
