import { messageOf, sleep } from "@trine/base";
import type { Machine } from "@trine/vmm";
import { startP9 } from "../p9-server.ts";
import type { PodContext } from "../pod-context.ts";
import { endChild } from "../end-child.ts";
import { startPasst } from "./machine-passt.ts";
import { SHARES_KEY } from "./machine-shares.ts";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
/** One that ran for so long has ended for another reason than the one before. */
const SOUND_MS = 60_000;
const ANNOUNCE_MS = 20_000;

/** What is started again beside a machine. */
interface Helper {
  /** Repeatable; nothing where it runs. */
  readonly start: () => Promise<void>;
  /** What follows once it runs; it has served by then. */
  readonly started?: () => Promise<void>;
  /** Said of a start that fails. */
  readonly lost: string;
}

/**
 * Starts a helper again under one machine, as often as it ends and until the machine does. Outside the pod's queue: one that
 * ends at once is waited for longer and longer, and the pod is stopped meanwhile like any other.
 */
export class HelperRevival {
  readonly #helper: Helper;
  readonly #log: PodContext["log"];
  readonly #life: AbortSignal;
  #isAsked = false;
  #isUnderWay = false;
  #waitMs = 0;
  /** When it was last seen to serve, on the monotonic clock. */
  #servedMs: number | undefined;

  constructor(helper: Helper, { log, life }: { log: PodContext["log"]; life: AbortSignal }) {
    this.#helper = helper;
    this.#log = log;
    this.#life = life;
  }

  /** Has it started if it is not there. */
  revive(): void {
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

  async #attempt(): Promise<void> {
    if (hasEnded(this.#life)) return;
    try {
      await this.#helper.start();
      this.#servedMs = performance.now();
      await this.#helper.started?.();
    } catch (cause) {
      if (hasEnded(this.#life)) return;
      this.#log.error({ err: messageOf(cause), againInMs: this.#waitMs }, this.#helper.lost);
      this.#isAsked = true;
    }
  }
}

/** Of a machine whose first interface passt carries; undefined of another. */
export function passtRevival(
  pod: PodContext,
  machine: Machine,
  life: AbortSignal,
): HelperRevival | undefined {
  const record = pod.document.machine;
  if (record?.passt === undefined) return undefined;
  const helper = {
    start: () => startPasst(pod, record, life),
    /** The VMM has waited for it; it learns the guest's MAC from what that sends, and lets nobody in before. */
    started: () => machine.announce(AbortSignal.any([life, AbortSignal.timeout(ANNOUNCE_MS)])),
    lost: "passt does not start: the machine has no network",
  };
  return new HelperRevival(helper, { log: pod.log, life });
}

/** Of a machine whose volumes go over the link of our agent, which mounts them anew; undefined of another. */
export function sharesRevival(pod: PodContext, life: AbortSignal): HelperRevival | undefined {
  if (pod.document.machine?.spec.shares?.way !== "9p") return undefined;
  const helper = {
    start: () => startShares(pod, life),
    lost: "what serves the machine's volumes does not start: its guest has none",
  };
  return new HelperRevival(helper, { log: pod.log, life });
}

async function startShares({ shim, files, deps }: PodContext, life: AbortSignal): Promise<void> {
  const { children } = await shim.describe();
  if (children.some(({ key, running }) => key === SHARES_KEY && running)) return;
  await endChild(shim, SHARES_KEY);
  life.throwIfAborted();
  await startP9(shim, files, { key: SHARES_KEY, program: deps.config.microvms.fileServer });
}

function hasEnded(life: AbortSignal): boolean {
  return life.aborted;
}
