import { TrineError, messageOf } from "@trine/base";
import type { GuestAgent, GuestVoice } from "@trine/guest-link";
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
import type { GuestUsage } from "./guest-usage.ts";
import { GuestWatch } from "./guest-watch.ts";
import { MachineCredentials } from "./machine-credentials.ts";
import { MachineFreeze } from "./machine-freeze.ts";
import { MachineHalt } from "./machine-halt.ts";
import { reportOf } from "./machine-report.ts";
import { overheadOf } from "./overhead.ts";
import { SoftReboot } from "./soft-reboot.ts";

const MONITOR_MS = 30_000;
const REBOOT_MS = 10_000;
const PING_MS = 2_000;
/** Reading what processes hold walks all of their memory. */
const MEASURE_MS = 60_000;
/** Less of a change than that is none. */
const OVERHEAD_STEP = 4 * 1024 * 1024;

/** Who may speak for the guest of the machine that runs; undefined where it is off. */
interface GuestAgents {
  readonly qemu: () => GuestAgent | undefined;
  readonly ours: () => GuestVoice | undefined;
}

/** A machine beyond what a task is: what the control plane sees of it, and does with it. */
export class MachineControl {
  readonly #pod: PodContext;
  readonly #vmm: PodVmm;
  readonly #qemuAgent: () => GuestAgent | undefined;
  readonly #watch: GuestWatch;
  readonly #freeze: MachineFreeze;
  readonly #halt: MachineHalt;
  readonly #reboot: SoftReboot;
  readonly #credentials: MachineCredentials;
  readonly #seen: string;
  #overheadBytes = 0;
  #diskBytes: ReadonlyMap<string, number> = new Map();
  /** On the monotonic clock. */
  #measuredAt = -Infinity;
  #isNews = false;

  constructor(pod: PodContext, vmm: PodVmm, agents: GuestAgents) {
    this.#pod = pod;
    this.#vmm = vmm;
    this.#qemuAgent = agents.qemu;
    const voices = (): GuestVoice[] =>
      [agents.qemu(), agents.ours()].filter((voice) => voice !== undefined);
    this.#watch = new GuestWatch(voices);
    this.#freeze = new MachineFreeze(pod, () => this.#watch.voice(), voices);
    this.#halt = new MachineHalt(pod, () => vmm.machine);
    this.#reboot = new SoftReboot(pod);
    this.#credentials = new MachineCredentials(pod, agents.qemu);
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
    return reportOf(this.#pod, record, {
      said: this.#watch.said,
      overheadBytes: this.#overheadBytes,
      diskBytes: this.#diskBytes,
      halted: this.#halt.why,
      credentials: this.#credentials.said,
      seen: this.#seen,
    });
  }

  /** What its guest has said last of how full it is; nothing is asked. */
  get usage(): GuestUsage | undefined {
    return this.#watch.usage;
  }

  /** The VMM has stopped the guest by itself: it goes on when it is resumed. */
  get isHalted(): boolean {
    return this.#halt.why !== undefined;
  }

  /** The guest is likely to have news since the last look. */
  get isNews(): boolean {
    return this.#isNews;
  }

  /** Asks the guest's agent, and the kernel what the machine costs. Never rejects: what is not answered is not known. */
  async look(): Promise<void> {
    this.#isNews = false;
    if (this.#vmm.machine === undefined) return;
    await Promise.all([this.#watch.look(), this.#measure(), this.#lookAtDisks()]);
  }

  onEvent(event: MachineEvent): void {
    const { what } = event;
    this.#halt.onEvent(event);
    if (what === "agent-down" || what === "reset") this.#watch.forget();
    if (what === "reset") void this.#freeze.reset();
    if (what === "agent-up") {
      this.#isNews = true;
      this.#credentials.soon();
    }
    this.#pod.deps.changed?.();
  }

  /** A machine runs, or was found running. */
  started(): void {
    this.#isNews = true;
    const { machine, life } = this.#vmm;
    this.#freeze.resume(life);
    this.#credentials.begin(life);
    this.#halt.forget();
    void this.#halt.look();
    // With the first that is told of it: else they are news of their own, and a write of its instance.
    void this.#lookAtDisks();
    if (machine === undefined) return;
    if (this.#pod.document.machine?.state === "stopping") void this.endSoftReboot();
    else this.#reboot.resume(machine, life);
  }

  /** It has ended, or this daemon lets go of it. */
  stop(): void {
    this.#freeze.stop();
    this.#credentials.stop();
    this.#reboot.stop();
    this.#halt.forget();
    this.#watch.forget();
  }

  async resumeHalted(signal: AbortSignal): Promise<void> {
    await this.#running().resume(signal);
    await this.#halt.look();
  }

  async osInfo(): Promise<GuestOsInfo> {
    return osInfoOf(await this.#watch.voice());
  }

  async users(): Promise<GuestUserList> {
    return usersOf(await this.#watch.voice());
  }

  async fileSystems(): Promise<GuestFileSystemList> {
    return fileSystemsOf(await this.#watch.voice());
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

  /** By the guest's own will: its agent's, else by the power button, and it begins anew when it is off. */
  async softReboot(): Promise<void> {
    const machine = this.#running();
    this.#reboot.requireRunning();
    if (await this.#agentReboots()) return;
    await this.#reboot.begin(machine, this.#vmm.life);
    this.#pod.log.info("the power button was pressed for a guest that is to start anew");
  }

  /** For a machine that is to end: its guest does not begin anew. Where the monitor fails it ends with its grace period. */
  async endSoftReboot(): Promise<void> {
    const { machine } = this.#vmm;
    if (machine === undefined) return;
    try {
      await this.#reboot.cancel(machine);
    } catch (cause) {
      this.#pod.log.warn({ err: messageOf(cause) }, "a soft reboot was not called off");
    }
  }

  /** For a machine that is to end: a guest that stands still hears no button. Where it cannot go on it ends with its grace period. */
  async wake(): Promise<void> {
    const { machine, life } = this.#vmm;
    const stands = this.isHalted || this.#pod.document.machine?.state === "paused";
    if (machine === undefined || !stands || this.#halt.isCrashed) return;
    try {
      await machine.resume(AbortSignal.any([life, AbortSignal.timeout(MONITOR_MS)]));
    } catch (cause) {
      this.#pod.log.warn({ err: messageOf(cause) }, "a machine that is to end stands still");
    }
  }

  async #agentReboots(): Promise<boolean> {
    const agent = this.#qemuAgent();
    if (agent === undefined) return false;
    try {
      await agent.ping({ timeoutMs: PING_MS });
      await agent.shutdown("reboot", { timeoutMs: REBOOT_MS });
    } catch (cause) {
      this.#pod.log.info({ err: messageOf(cause) }, "the guest's agent does not reboot it");
      return false;
    }
    this.#pod.log.info("the guest was asked to start anew");
    return true;
  }

  /** What the VMM does not say is not known. */
  async #lookAtDisks(): Promise<void> {
    try {
      const sizes = await this.#vmm.machine?.diskBytes(AbortSignal.timeout(MONITOR_MS));
      this.#diskBytes = sizes ?? this.#diskBytes;
    } catch (cause) {
      this.#pod.log.debug({ err: messageOf(cause) }, "sizes of disks are not known");
    }
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
}
