import { SerialQueue, TrineError, messageOf, sleep } from "@trine/base";
import type { DescribeResponse } from "@trine/proto/shim";
import type { ShimLink } from "@trine/shim-client";
import type { MachineReport } from "@trine/vmm";
import { readBundle } from "./bundle.ts";
import { containerdOf } from "./containerd-of.ts";
import { levelOf } from "./levels.ts";
import type { Level } from "./levels.ts";
import type { MachineControl } from "./machine/machine-control.ts";
import type { MachineFigures } from "./machine-figures.ts";
import { PodContext } from "./pod-context.ts";
import type { PodDeps } from "./pod-context.ts";
import type { GuestSize } from "./pod-document.ts";
import type { PodIdentity } from "./pod-identity.ts";
import { saidImports, uploadSocket } from "./machine/pod-imports.ts";
import type { SaidImport } from "./machine/pod-imports.ts";
import { makeSummary } from "./pod-summary.ts";
import type { PodSummary } from "./pod-summary.ts";
import type { AddExec, CreateTask, ProcessRef } from "./requests.ts";
import type { PodStats } from "./stats.ts";
import type { TaskKeeper } from "./task-keeper.ts";

const RETRY_MS = { first: 200, longest: 30_000 };

/**
 * One pod: its sandbox and its tasks, served as its level does. The shim holds the processes and the
 * document; this object decides. Every change runs in the pod's queue, one after the other, and
 * converges: a request an earlier daemon left half done is simply done again.
 */
export class Pod {
  readonly #context: PodContext;
  readonly #level: Level;
  readonly #keeper: TaskKeeper;
  readonly #queue = new SerialQueue();
  #growths = new AbortController();

  private constructor(context: PodContext) {
    this.#context = context;
    this.#level = levelOf(context.facts.runtime);
    this.#keeper = this.#level.keeper(context);
  }

  /** Takes over the pod behind a shim: one that has just started, or one an earlier daemon left. */
  static async adopt(deps: PodDeps, shim: ShimLink, facts: DescribeResponse): Promise<Pod> {
    const pod = new Pod(new PodContext(deps, shim, facts, await readBundle(facts.bundle)));
    try {
      await pod.#queue.run(() => pod.#keeper.recover());
    } catch (cause) {
      pod.#keeper.detach(); // else the next adoption finds the machine's monitor taken
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
          await this.#queue.run(() => this.#keeper.apply(event));
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
    this.#context.deps.spares.postpone();
    return this.#queue.run(async () => {
      if (task.id === this.identity.sandboxId) await this.#keeper.createSandbox();
      if (!this.#context.isSandboxTask(task.id)) await this.#keeper.create(task);
    });
  }

  start(process: ProcessRef, signal: AbortSignal): Promise<void> {
    this.#context.deps.spares.postpone();
    return this.#queue.run(() => this.#keeper.start(process, signal));
  }

  kill(process: ProcessRef, kill: { signal: number; all: boolean }): Promise<void> {
    if (process.execId === "") this.#endGrowths("it is to stop");
    return this.#queue.run(() => this.#keeper.kill(process, kill));
  }

  delete(process: ProcessRef): Promise<void> {
    if (process.execId === "") this.#endGrowths("it is deleted");
    return this.#queue.run(() => this.#keeper.delete(process));
  }

  addExec(exec: AddExec): Promise<void> {
    return this.#queue.run(() => this.#keeper.addExec(exec));
  }

  pause(id: string, signal: AbortSignal): Promise<void> {
    this.#endGrowths("it is to pause");
    return this.#queue.run(() => this.#keeper.pause(id, signal));
  }

  resume(id: string, signal: AbortSignal): Promise<void> {
    this.#endGrowths("it is to go on from a pause");
    return this.#queue.run(() => this.#keeper.resume(id, signal));
  }

  /** `resources`: OCI linux.resources as JSON. */
  update(id: string, resources: Uint8Array): Promise<void> {
    const { signal } = this.#growths;
    return this.#queue.run(() => this.#keeper.update(id, resources, signal));
  }

  /**
   * What a machine's guest is to have from now on; nothing is done at its turn where `asked` has aborted by then. Kinds
   * `unimplemented` where the task is none, `wrongState` where it ends before.
   */
  giveSize(id: string, size: GuestSize, asked: AbortSignal): Promise<void> {
    const { signal } = this.#growths;
    return this.#queue.run(async () => {
      asked.throwIfAborted();
      if (this.#keeper.giveSize === undefined) {
        throw new TrineError("unimplemented", "only machines are given a size");
      }
      await this.#keeper.giveSize(id, size, signal);
    });
  }

  /** A guest may take a minute to follow, or never does: nothing that ends or pauses it waits for that. */
  #endGrowths(why: string): void {
    this.#growths.abort(new TrineError("wrongState", `the machine does not grow now: ${why}`));
    this.#growths = new AbortController();
  }

  /** The guest's truth; zeros for the sandbox, which runs nothing. */
  stats(id: string, signal: AbortSignal): Promise<PodStats> {
    return this.#keeper.stats(id, signal);
  }

  /** Undefined when no machine runs. */
  figures(signal: AbortSignal): Promise<MachineFigures | undefined> {
    return this.#keeper.figures(signal);
  }

  /** Undefined when no machine runs. */
  report(signal: AbortSignal): Promise<MachineReport | undefined> {
    return this.#keeper.report(signal);
  }

  /** Of a pod that is a machine. */
  get control(): MachineControl | undefined {
    return this.#keeper.control;
  }

  /** What the containers that fill volumes say of themselves. */
  readonly imports = (): Promise<SaidImport[]> => saidImports(this.#context.files.podDir);

  /** Where one of them takes an upload. */
  readonly uploadSocket = (container: string): string =>
    uploadSocket(this.#context.files.podDir, container);

  /** Socket of the containerd whose pod this is; empty = not known, as of docker's. */
  containerd(): Promise<string> {
    return containerdOf(this.#context);
  }

  summary(): PodSummary {
    return makeSummary(this.#context, this.#level);
  }

  /** Leaves everything running. */
  detach(): void {
    this.#keeper.detach();
    this.#context.shim.close();
  }
}
