import type { GuestVoice, RequestOptions } from "@trine/guest-link";
import { cleanText } from "./clean.ts";
import { known } from "./guest-info.ts";

/** More of them are not told: each is series of its own in whoever reads the figures. */
const MAX_FILE_SYSTEMS = 64;
const MAX_LOAD = 1e6;
const ASK_MS = 60_000;
/** An agent that waits for a file system answers nothing else meanwhile: it is not brought there again soon. */
const AFTER_SILENCE_MS = 600_000;
/** Where nobody looks any more, what was said is not how it is. */
const HOLDS_MS = 3 * ASK_MS;
const options: RequestOptions = { timeoutMs: 3_000 };

/** What only the guest knows of its own use, cleaned; what it does not say, or says in nonsense, is left out. */
export interface GuestUsage {
  readonly fileSystems: readonly {
    readonly diskName: string;
    readonly mountPoint: string;
    readonly type: string;
    readonly totalBytes: number;
    readonly usedBytes: number;
  }[];
  /** Processes that run or wait to, on average over so many minutes. */
  readonly load?: { readonly 1: number; readonly 5: number; readonly 15: number };
}

interface Said {
  readonly usage: GuestUsage;
  /** On the monotonic clock. */
  readonly at: number;
}

/** Asks a guest now and then how full it is; what it said last is there without a question. */
export class UsageWatch {
  #said: Said | undefined;
  /** On the monotonic clock. */
  #nextAt = -Infinity;
  #isLooking = false;
  /** Which guest it is, of those since the beginning. */
  #guest = 0;

  get said(): GuestUsage | undefined {
    const said = this.#said;
    return said !== undefined && performance.now() < said.at + HOLDS_MS ? said.usage : undefined;
  }

  /** Where it is time again, one at a time. Never rejects: silence about this says nothing of the rest. */
  async look(agent: GuestVoice): Promise<void> {
    if (this.#isLooking || performance.now() < this.#nextAt) return;
    this.#isLooking = true;
    const guest = this.#guest;
    try {
      const usage = await usageOf(agent);
      // What a former guest says is nothing of this one.
      if (guest !== this.#guest) return;
      this.#said = { usage, at: performance.now() };
      this.#nextAt = performance.now() + ASK_MS;
    } catch {
      // It hangs, or is gone: what it said before may not hold.
      this.#said = undefined;
      this.#nextAt = performance.now() + AFTER_SILENCE_MS;
    } finally {
      this.#isLooking = false;
    }
  }

  /** The guest is another, or its agent is gone. */
  forget(): void {
    this.#guest += 1;
    if (this.#said !== undefined) this.#nextAt = -Infinity;
    this.#said = undefined;
  }
}

async function usageOf(agent: GuestVoice): Promise<GuestUsage> {
  const load = await known(agent.load(options));
  const found = (await known(agent.fileSystems(options))) ?? [];
  const fileSystems = found.slice(0, MAX_FILE_SYSTEMS).flatMap((each) => {
    const { diskName, mountPoint, type, totalBytes, usedBytes } = each;
    if (!isCount(totalBytes) || !isCount(usedBytes)) return [];
    const named = { diskName: cleanText(diskName), mountPoint: cleanText(mountPoint) };
    return [{ ...named, type: cleanText(type), totalBytes, usedBytes }];
  });
  const isLoad = load !== undefined && [load[1], load[5], load[15]].every(isAverage);
  return { fileSystems, ...(isLoad ? { load } : {}) };
}

function isCount(value: number | undefined): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isAverage(value: number): boolean {
  return value >= 0 && value <= MAX_LOAD;
}
