import { TrineError } from "@trine/base";
import type { GuestAgent, GuestVoice } from "@trine/guest-link";
import type { StatsResponse } from "@trine/proto/agent";
import type { ProcessHost } from "@trine/vmm";
import type { PodContext } from "../pod-context.ts";
import type { MachineRecord } from "../pod-document.ts";
import type { AddExec, ProcessRef, ResizeProcess } from "../requests.ts";
import { AgentExecs } from "./agent-execs.ts";
import { GuestExecs } from "./guest-execs.ts";
import { firstToAnswer } from "./onlining.ts";
import type { Onliner } from "./onlining.ts";

/** Execs in a machine: by our agent where its guest runs it, else by qemu-guest-agent. */
export class MachineExecs {
  readonly #pod: PodContext;
  readonly #ours: AgentExecs;
  readonly #qemus: GuestExecs;

  constructor(pod: PodContext) {
    this.#pod = pod;
    this.#ours = new AgentExecs(pod);
    this.#qemus = new GuestExecs({
      shim: pod.shim,
      log: pod.log,
      records: pod.document.execs,
      save: () => pod.save(),
    });
  }

  /** qemu-guest-agent of the machine that runs now. */
  get qemuAgent(): GuestAgent | undefined {
    return this.#qemus.agent;
  }

  /** Trine's agent as who speaks for the guest, where it may run there. */
  get voice(): GuestVoice | undefined {
    return this.#mayHaveAgent() ? this.#ours.voice : undefined;
  }

  /** Gives the channels of a machine that runs now; `life` aborts with the machine. */
  attach({ spec }: MachineRecord, host: ProcessHost, life: AbortSignal): void {
    if (spec.guestAgent) this.#qemus.attach(host, life);
    if (spec.guestLink === true) this.#ours.attach(life);
  }

  /** Leaves them to the next daemon. */
  detach(): void {
    this.#ours.detach();
  }

  async add(exec: AddExec): Promise<void> {
    if (!this.#mayHaveAgent()) return this.#qemus.add(exec);
    if (await this.#ours.answers()) return this.#ours.add(exec);
    try {
      await this.#qemus.add(exec);
    } catch (cause) {
      throw TrineError.during("Trine's agent does not answer in this guest (yet)", cause);
    }
  }

  start(process: ProcessRef): Promise<void> {
    return this.#isOurs(process) ? this.#ours.start(process) : this.#qemus.start(process);
  }

  kill(process: ProcessRef, signal: number): Promise<void> {
    return this.#isOurs(process)
      ? this.#ours.kill(process, signal)
      : this.#qemus.kill(process, signal);
  }

  remove(process: ProcessRef): Promise<void> {
    return this.#isOurs(process) ? this.#ours.remove(process) : this.#qemus.remove(process);
  }

  /** A serial console has no size, nor has what qemu-guest-agent runs. */
  async resize(process: ResizeProcess): Promise<void> {
    if (process.execId !== "" && this.#isOurs(process)) await this.#ours.resize(process);
  }

  /** For one change of the guest's size. */
  onliner(): Onliner {
    return firstToAnswer([
      (cpus) => this.#ours.onlineResources(cpus),
      (cpus) => this.#qemus.onlineResources(cpus),
    ]);
  }

  /** What our agent says of its guest; undefined where it is not. */
  async stats(signal: AbortSignal): Promise<StatsResponse | undefined> {
    return this.#mayHaveAgent() ? this.#ours.stats(signal) : undefined;
  }

  /** Follows the execs an earlier daemon started. Those of our agent are the shim's to follow. */
  resume(taskId: string): void {
    this.#qemus.resume(taskId);
  }

  /** The machine has ended: so has every exec in it. Those of our agent end with its link. */
  endAll(taskId: string): Promise<void> {
    this.#ours.detach();
    return this.#qemus.endAll(taskId);
  }

  /** The machine's task is deleted: an exec containerd never deleted goes with it. */
  forgetAll(): void {
    this.#qemus.forgetAll();
  }

  /** Only of those of qemu-guest-agent something is kept. */
  #isOurs({ execId }: ProcessRef): boolean {
    return this.#mayHaveAgent() && this.#pod.document.execs[execId] === undefined;
  }

  #mayHaveAgent(): boolean {
    return this.#pod.document.machine?.spec.guestLink === true;
  }
}
