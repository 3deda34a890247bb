import { open } from "node:fs/promises";
import { TrineError, allDone, messageOf, printable } from "@trine/base";
import { AgentClient } from "@trine/guest-link";
import { become } from "../change-state.ts";
import type { PodContext } from "../pod-context.ts";
import type { GuestRecord } from "../pod-document.ts";
import { GUEST_SHARE, GUEST_SHM } from "./guest-spec.ts";
import { VMM_KEY } from "@trine/vmm";
import { endChild, signalChild } from "../end-child.ts";
import { PodVmm } from "../pod-vmm.ts";
import { hasGrown, wholeMachine } from "./grow-guest.ts";
import { resizeGuest } from "../resize-guest.ts";
import { reviveRequest } from "./revive-request.ts";
import { goBack } from "./update-container.ts";

/** The share the guest mounts; the agent opens the stream 9p/pod for it. */
const SHARE = "pod";
/** What containerd gives a pod's /dev/shm. */
const SHM_BYTES = 64n << 20n;
const SHM_MODE = 0o1777;
const START_MS = 60_000;
const TAIL_BYTES = 1024;

/** The guest of a microvm pod: its VMM, and the agent in it once that has answered. */
export class PodGuest {
  readonly #pod: PodContext;
  readonly #vmm: PodVmm;
  #linked: Promise<AgentClient> | undefined;
  #record: GuestRecord | undefined;

  constructor(pod: PodContext) {
    this.#pod = pod;
    this.#vmm = new PodVmm(pod);
  }

  get vmm(): PodVmm {
    return this.#vmm;
  }

  /** Starts the VMM and answers as soon as it runs; the guest boots on meanwhile. */
  async start(record: GuestRecord): Promise<void> {
    this.#record = record;
    try {
      await this.#vmm.start(record, AbortSignal.timeout(START_MS));
    } catch (cause) {
      if (record.spec.origin === undefined) throw cause;
      await this.#bootInstead(record, messageOf(cause));
    }
    this.#watch();
  }

  /** A template is there to be fast, and growing to be small at first: a pod does not fail for either. */
  async #bootInstead(record: GuestRecord, why: string): Promise<void> {
    const { log, deps } = this.#pod;
    log.warn(
      { why },
      "the guest does not come up as it should: another boots, whole from the start",
    );
    await this.endChild(VMM_KEY); // fails with a shim that has gone, which is not the template's fault
    const key = record.spec.origin?.template.key;
    if (key !== undefined) deps.templates.distrust(key, why);
    record.start = { how: "cold", why: "unfit", detail: why };
    record.spec = wholeMachine(record.spec, record.size ?? record.spec);
    await this.#pod.save();
    await this.#vmm.start(record, AbortSignal.timeout(START_MS));
  }

  /** Takes over a guest that an earlier daemon started. */
  async recover(record: GuestRecord): Promise<void> {
    this.#record = record;
    await this.#vmm.recover(record);
    this.#watch();
  }

  /** The agent of a guest that has been made this pod's; waits while it boots. */
  async agent(): Promise<AgentClient> {
    if (this.#vmm.machine === undefined) {
      throw new TrineError("wrongState", `pod ${this.#pod.identity.name}: its guest does not run`);
    }
    const linking = (this.#linked ??= this.#link());
    try {
      return await linking;
    } catch (cause) {
      if (this.#linked === linking) this.#linked = undefined; // the next caller tries again
      throw cause;
    }
  }

  /** The VMM has ended. */
  async ended(): Promise<void> {
    this.#vmm.ended();
    await this.#unlink();
  }

  /** Leaves the guest running. */
  detach(): void {
    this.#vmm.detach();
    void this.#unlink();
  }

  /** Ends a child of the pod's shim, waits for its end and forgets it. One that is not there is a success. */
  endChild(key: string): Promise<void> {
    return endChild(this.#pod.shim, key);
  }

  /** SIGKILL to a child of the pod's shim, if there is one. */
  signalChild(key: string): Promise<void> {
    return signalChild(this.#pod.shim, key);
  }

  #watch(): void {
    this.#vmm.follow();
    const { log } = this.#pod;
    // Whoever needs the agent sees the same failure.
    this.agent().catch((cause: unknown) => {
      if (!this.#vmm.life.aborted) log.error({ err: messageOf(cause) }, "the guest is not there");
    });
  }

  async #link(): Promise<AgentClient> {
    const { files, deps, log, identity } = this.#pod;
    const { bootMs } = deps.config.microvms;
    const agent = new AgentClient(files.guestSocket);
    const startedMs = performance.now();
    try {
      const until = AbortSignal.any([this.#vmm.life, AbortSignal.timeout(bootMs)]);
      const { version, kernel } = await agent.untilAnswers(until);
      await agent.revive(reviveRequest(this.#pod));
      const failure = await this.#grow(agent);
      if (failure !== undefined) {
        agent.close();
        return await this.#linkAnother(failure);
      }
      await allDone([
        agent.mount({ target: GUEST_SHARE, source: shareSource() }),
        agent.mount({ target: GUEST_SHM, source: shmSource() }),
      ]);
      const linkedMs = performance.now() - startedMs;
      log.info({ version, kernel, linkedMs }, "the guest answers");
      return agent;
    } catch (cause) {
      agent.close();
      const tail = await consoleTail(files.consoleSpool);
      const said = tail === "" ? "its console is empty" : `its console ends: ${tail}`;
      throw TrineError.during(`the guest of pod ${identity.name} did not come up (${said})`, cause);
    }
  }

  /**
   * A guest of a smaller machine gets the rest of its pod's size before anything runs in it. Answers why it did not take
   * it: another can be booted instead. One that runs has it, or goes back to what it had.
   */
  async #grow(agent: AgentClient): Promise<string | undefined> {
    const { machine, life } = this.#vmm;
    const record = this.#record;
    if (record?.size === undefined || machine === undefined) return undefined;
    const { spec, size } = record;
    if (record.state === "running") {
      await goBack(this.#pod, { record, machine, agent, life });
      return undefined;
    }
    if (!hasGrown(spec, size)) return undefined;
    try {
      await resizeGuest(spec, size, { machine, agent }, life);
      return undefined;
    } catch (cause) {
      if (life.aborted) throw cause;
      return messageOf(cause);
    }
  }

  async #linkAnother(why: string): Promise<AgentClient> {
    const record = this.#record;
    if (record === undefined) throw new TrineError("internal", why);
    // The end of the first is no end of the guest, nor to a daemon that finds it ended.
    await become(this.#pod, record, "preparing");
    await this.#bootInstead(record, why);
    await become(this.#pod, record, "booting");
    this.#vmm.follow();
    return this.#link();
  }

  async #unlink(): Promise<void> {
    const linked = this.#linked;
    this.#linked = undefined;
    (await linked?.catch(() => undefined))?.close(); // whoever asked for it has the error
  }
}

function shareSource(): { what: { case: "share"; value: { name: string } } } {
  return { what: { case: "share", value: { name: SHARE } } };
}

function shmSource(): {
  what: { case: "tmpfs"; value: { sizeBytes: bigint; mode: number } };
} {
  return { what: { case: "tmpfs", value: { sizeBytes: SHM_BYTES, mode: SHM_MODE } } };
}

/** The newest of what the guest has printed, on one line. Empty when there is nothing: it explains a failure. */
async function consoleTail(path: string): Promise<string> {
  try {
    await using handle = await open(path, "r");
    const { size } = await handle.stat();
    const from = Math.max(0, size - TAIL_BYTES);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(TAIL_BYTES), 0, TAIL_BYTES, from);
    return printable(buffer.toString("utf8", 0, bytesRead), TAIL_BYTES).trim();
  } catch {
    return "";
  }
}
