import { TrineError, messageOf } from "@trine/base";
import type { GuestAgent } from "@trine/guest-link";
import type {
  GuestFileSystemList,
  GuestOsInfo,
  GuestUserList,
  MachineReport,
} from "@trine/node-door";
import type { Machine, MachineEvent } from "@trine/vmm";
import type { PodContext } from "../pod-context.ts";
import type { PodVmm } from "../pod-vmm.ts";
import { fileSystemsOf, osInfoOf, usersOf } from "./guest-info.ts";
import { GuestWatch } from "./guest-watch.ts";
import { MachineFreeze } from "./machine-freeze.ts";
import { reportOf } from "./machine-report.ts";
import { overheadOf } from "./overhead.ts";

const MONITOR_MS = 30_000;
const REBOOT_MS = 10_000;
/** Reading what processes hold walks all of their memory. */
const MEASURE_MS = 60_000;
/** Less of a change than that is none. */
const OVERHEAD_STEP = 4 * 1024 * 1024;

/** A machine beyond what a task is: what the control plane sees of it, and does with it. */
export class MachineControl {
  readonly #pod: PodContext;
  readonly #vmm: PodVmm;
  readonly #qemuAgent: () => GuestAgent | undefined;
  readonly #watch: GuestWatch;
  readonly #freeze: MachineFreeze;
  readonly #seen: string;
  #overheadBytes = 0;
  /** On the monotonic clock. */
  #measuredAt = -Infinity;
  #isNews = false;

  /** `agent`: qemu-guest-agent in the machine that runs; undefined where it is off. */
  constructor(pod: PodContext, vmm: PodVmm, agent: () => GuestAgent | undefined) {
    this.#pod = pod;
    this.#vmm = vmm;
    this.#qemuAgent = agent;
    this.#watch = new GuestWatch(agent);
    this.#freeze = new MachineFreeze(pod, () => this.#agent());
    this.#seen = pod.deps.now().toISOString();
  }

  /** The container that is the machine; undefined while there is none. */
  get taskId(): string | undefined {
    return this.#pod.document.machine?.taskId;
  }

  get consoleSocket(): string {
    return this.#pod.files.consoleAttach;
  }

  /** Kind `wrongState` for a machine without a display. */
  get displaySocket(): string {
    if (this.#pod.document.machine?.spec.display === true)
      return `${this.#pod.files.machineDir}/vnc.sock`;
    throw new TrineError("wrongState", `${this.#name}: it has no display`);
  }

  /** What is known; nothing is asked. Undefined while there is no machine. */
  report(): MachineReport | undefined {
    const record = this.#pod.document.machine;
    if (record === undefined) return undefined;
    const [said, overheadBytes] = [this.#watch.said, this.#overheadBytes];
    return reportOf(this.#pod, record, { said, overheadBytes, seen: this.#seen });
  }

  /** The guest is likely to have news since the last look. */
  get isNews(): boolean {
    return this.#isNews;
  }

  /** Asks the guest's agent, and the kernel what the machine costs. Never rejects: what is not answered is not known. */
  async look(): Promise<void> {
    this.#isNews = false;
    if (this.#vmm.machine === undefined) return;
    await Promise.all([this.#watch.look(), this.#measure()]);
  }

  onEvent({ what }: MachineEvent): void {
    if (what === "agent-down" || what === "reset") this.#watch.forget();
    if (what === "agent-up") this.#isNews = true;
    this.#pod.deps.changed?.();
  }

  /** A machine runs, or was found running. */
  started(): void {
    this.#isNews = true;
    this.#freeze.resume(this.#vmm.life);
  }

  /** It has ended, or this daemon lets go of it. */
  stop(): void {
    this.#freeze.stop();
    this.#watch.forget();
  }

  osInfo(): Promise<GuestOsInfo> {
    return osInfoOf(this.#agent());
  }

  users(): Promise<GuestUserList> {
    return usersOf(this.#agent());
  }

  fileSystems(): Promise<GuestFileSystemList> {
    return fileSystemsOf(this.#agent());
  }

  async freeze(forMs: number): Promise<void> {
    this.#running();
    await this.#freeze.freeze(forMs, this.#vmm.life);
    await this.#watch.look();
    this.#pod.deps.changed?.();
  }

  async thaw(): Promise<void> {
    this.#running();
    await this.#freeze.thaw();
    await this.#watch.look();
    this.#pod.deps.changed?.();
  }

  async reset(signal: AbortSignal): Promise<void> {
    const until = AbortSignal.any([signal, AbortSignal.timeout(MONITOR_MS)]);
    await this.#running().reset(until);
    this.#pod.log.info("the machine was reset");
  }

  /** By the guest's own will: kind `wrongState` where nobody in it can be asked. */
  async softReboot(): Promise<void> {
    this.#running();
    try {
      await this.#agent().shutdown("reboot", { timeoutMs: REBOOT_MS });
    } catch (cause) {
      const why = `the guest's agent does not do it: ${messageOf(cause)}`;
      throw new TrineError("wrongState", `${this.#name}: soft reboot: ${why}`, { cause });
    }
    this.#pod.log.info("the guest was asked to start anew");
  }

  async #measure(): Promise<void> {
    if (performance.now() - this.#measuredAt < MEASURE_MS) return;
    const record = this.#pod.document.machine;
    if (record === undefined) return;
    this.#measuredAt = performance.now();
    try {
      const { children } = await this.#pod.shim.describe();
      const running = children.filter((each) => each.running).map(({ pid }) => pid);
      const pids = [this.#pod.facts.pid, ...running];
      const bytes = await overheadOf(pids, record.spec.memoryBytes);
      if (Math.abs(bytes - this.#overheadBytes) >= OVERHEAD_STEP) this.#overheadBytes = bytes;
    } catch (cause) {
      this.#pod.log.debug({ err: messageOf(cause) }, "what the machine costs is not known");
    }
  }

  get #name(): string {
    return `machine of pod ${this.#pod.identity.name}`;
  }

  #running(): Machine {
    const { machine } = this.#vmm;
    if (machine !== undefined) return machine;
    throw new TrineError("wrongState", `${this.#name}: it does not run`);
  }

  #agent(): GuestAgent {
    const agent = this.#qemuAgent();
    if (agent !== undefined) return agent;
    throw new TrineError("wrongState", `${this.#name}: it has no qemu-guest-agent`);
  }
}
