import { HANDLER_VM, parseMachineAnnotations } from "@trine/annotations";
import { SerialQueue, TrineError, messageOf, sleep } from "@trine/base";
import type { DescribeResponse, Event } from "@trine/proto/shim";
import type { ShimLink } from "@trine/shim-client";
import { VMM_KEY } from "@trine/vmm";
import { readBundle } from "./bundle.ts";
import type { EngineDeps } from "./deps.ts";
import type { MachineFigures } from "./machine-figures.ts";
import { MachineKeeper } from "./machine-keeper.ts";
import { PodContext } from "./pod-context.ts";
import type { PodIdentity } from "./pod-identity.ts";
import { makeSummary } from "./pod-summary.ts";
import type { PodSummary } from "./pod-summary.ts";
import type { AddExec, CreateTask, ProcessRef } from "./requests.ts";
import { connectNetwork, discoverNetwork } from "./sandbox-network.ts";
import type { PodStats } from "./stats.ts";

/** containerd makes the shim's file name from the runtime type. */
const VM_SHIM = "containerd-shim-trine-vm-v2";
const RETRY_MS = { first: 200, longest: 30_000 };

/**
 * One pod of level vm: its sandbox, its machine, its execs. The shim holds the processes and the
 * document; this object decides. Every change runs in the pod's queue, one after the other, and
 * converges: a request an earlier daemon left half done is simply done again.
 */
export class Pod {
  readonly #context: PodContext;
  readonly #machine: MachineKeeper;
  readonly #queue = new SerialQueue();

  private constructor(context: PodContext) {
    this.#context = context;
    this.#machine = new MachineKeeper(context);
  }

  /** Takes over the pod behind a shim: one that has just started, or one an earlier daemon left. */
  static async adopt(deps: EngineDeps, shim: ShimLink, facts: DescribeResponse): Promise<Pod> {
    const pod = new Pod(new PodContext(deps, shim, facts, await readBundle(facts.bundle)));
    try {
      await pod.#queue.run(() => pod.#machine.recover());
    } catch (cause) {
      pod.#machine.detach(); // else the next adoption finds the machine's monitor taken
      throw cause;
    }
    return pod;
  }

  get identity(): PodIdentity {
    return this.#context.identity;
  }

  /** Settles when the pod is dead. */
  get shimClosed(): Promise<void> {
    return this.#context.shim.closed;
  }

  /** Applies the shim's events until it is gone or `signal` aborts. One that fails is applied again. */
  async follow(signal: AbortSignal): Promise<void> {
    const { shim, log } = this.#context;
    const gone = new AbortController();
    void shim.closed.then(() => {
      gone.abort();
    });
    const end = AbortSignal.any([signal, gone.signal]);
    let applied = 0n;
    for (let waitMs = RETRY_MS.first; ; waitMs = Math.min(2 * waitMs, RETRY_MS.longest)) {
      try {
        for await (const event of shim.events(applied, end)) {
          await this.#queue.run(() => this.#apply(event));
          applied = event.seq;
          waitMs = RETRY_MS.first;
        }
        return;
      } catch (cause) {
        if (end.aborted) throw cause;
        log.error({ err: messageOf(cause) }, "an event of the shim could not be applied");
      }
      await sleep(waitMs, end);
    }
  }

  create(task: CreateTask): Promise<void> {
    return this.#queue.run(async () => {
      if (task.id === this.identity.sandboxId) await this.#createSandbox();
      if (!this.#isSandbox(task)) await this.#machine.create(task);
    });
  }

  start(process: ProcessRef, signal: AbortSignal): Promise<void> {
    return this.#queue.run(async () => {
      if (process.execId !== "") await this.#machine.execs.start(process);
      else if (!this.#isSandbox(process)) await this.#machine.start(process.id, signal);
    });
  }

  kill(process: ProcessRef, signal: number): Promise<void> {
    return this.#queue.run(async () => {
      if (process.execId !== "") await this.#machine.execs.kill(process, signal);
      else if (!this.#isSandbox(process)) await this.#machine.kill(process.id, signal);
    });
  }

  delete(process: ProcessRef): Promise<void> {
    return this.#queue.run(async () => {
      if (process.execId !== "") await this.#machine.execs.remove(process);
      else if (!this.#isSandbox(process)) await this.#machine.delete(process.id);
    });
  }

  addExec(exec: AddExec): Promise<void> {
    return this.#queue.run(() => this.#machine.addExec(exec));
  }

  pause(id: string, signal: AbortSignal): Promise<void> {
    return this.#queue.run(() => this.#machine.pause(id, signal));
  }

  resume(id: string, signal: AbortSignal): Promise<void> {
    return this.#queue.run(() => this.#machine.resume(id, signal));
  }

  /** The guest's truth for the machine's task; zeros for the sandbox, which runs nothing. */
  stats(id: string, signal: AbortSignal): Promise<PodStats> {
    return this.#machine.stats(id, signal);
  }

  /** Undefined when no machine runs. */
  figures(signal: AbortSignal): Promise<MachineFigures | undefined> {
    return this.#machine.figures(signal);
  }

  summary(): PodSummary {
    const { identity, facts, document, files } = this.#context;
    return makeSummary(identity, facts, document, files);
  }

  /** Leaves everything running. */
  detach(): void {
    this.#machine.detach();
    this.#context.shim.close();
  }

  /** A wrong annotation fails the pod here, before anything runs. */
  async #createSandbox(): Promise<void> {
    const { sandbox, facts, shim, document } = this.#context;
    if (facts.runtime !== VM_SHIM) {
      throw new TrineError(
        "unimplemented",
        `runtime ${facts.runtime}: only machines (handler ${HANDLER_VM}) are supported yet`,
      );
    }
    parseMachineAnnotations(sandbox.annotations);
    if (facts.netns === "") return;
    if (document.network === undefined) {
      const network = await discoverNetwork(shim);
      if (network === undefined) return;
      // Written down before the interface loses the address: from here this is the only record.
      document.network = network;
      await this.#context.save();
    }
    await connectNetwork(shim, document.network);
  }

  async #apply(event: Event): Promise<void> {
    const { what } = event;
    if (what.case === "childExited" && what.value.key === VMM_KEY) {
      await this.#machine.ended(what.value);
    }
    if (what.case === "taskRemoved") await this.#machine.removed(what.value.id);
  }

  /** The task that stands for the pod and runs nothing; ctr and docker make none. */
  #isSandbox(process: { readonly id: string }): boolean {
    return process.id === this.identity.sandboxId && this.#context.sandbox.isPodSandbox;
  }
}
