import { TrineError, messageOf, sleep } from "@trine/base";
import type { Child } from "@trine/proto/shim";
import { ShimProcessHost } from "@trine/shim-client";
import { VMM_KEY } from "@trine/vmm";
import type { Machine, MachineEvent, MachineReport } from "@trine/vmm";
import { guestLinks } from "./guest-side.ts";
import { hostFigures } from "./machine-figures.ts";
import type { MachineFigures } from "./machine-figures.ts";
import type { PodContext } from "./pod-context.ts";
import type { VmmRecord } from "./pod-document.ts";

const RECOVER_MS = 20_000;
const MONITOR_RETRY_MS = 1_000;

/** The pod's VMM: started, or found again, and its monitor followed until it ends. */
export class PodVmm {
  readonly #pod: PodContext;
  #machine: Machine | undefined;
  /** Aborted when the machine ends, with everything that watches it. */
  #life = new AbortController();

  constructor(pod: PodContext) {
    this.#pod = pod;
  }

  /** Undefined when no VMM runs. */
  get machine(): Machine | undefined {
    return this.#machine;
  }

  get life(): AbortSignal {
    return this.#life.signal;
  }

  /** Starts it and waits for its monitor; notes its process id in `record`. */
  async start(record: VmmRecord, signal: AbortSignal, onSpawned?: () => void): Promise<void> {
    this.detach(); // of a start that failed after the machine was there
    this.#life = new AbortController();
    const { driver } = this.#pod.deps;
    this.#machine = await driver.start(record.spec, this.host(record, onSpawned), signal);
    const vmmPid = (await this.child())?.pid;
    if (vmmPid !== undefined) record.vmmPid = vmmPid;
  }

  /** Takes over a VMM that an earlier daemon started. */
  async recover(record: VmmRecord): Promise<void> {
    const { driver } = this.#pod.deps;
    const signal = AbortSignal.timeout(RECOVER_MS);
    this.#machine = await driver.recover(record.spec, this.host(record), signal);
  }

  /** Logs what the monitor says, and tells, until the machine ends; a monitor that is lost is followed again. */
  follow(onEvent?: (event: MachineEvent) => void): void {
    const { log } = this.#pod;
    const machine = this.#machine;
    const living = this.#life;
    const life = living.signal;
    if (machine === undefined) return;
    const follow = async (): Promise<void> => {
      for await (const event of machine.events(life)) {
        log.info({ what: event.what, detail: event.detail }, "machine event");
        onEvent?.(event);
      }
    };
    const followToEnd = async (): Promise<void> => {
      while (!hasEnded(life)) {
        const cause: unknown = await follow().catch((error: unknown) => error);
        if (hasEnded(life)) return;
        if (await this.#hasExited()) {
          // Whoever waits for the guest in the pod's queue is told now: the event of its end waits behind them.
          living.abort(new TrineError("unavailable", "the machine has ended"));
          return;
        }
        log.warn({ err: cause === undefined ? "closed" : messageOf(cause) }, "monitor lost");
        await sleep(MONITOR_RETRY_MS, life).catch(() => undefined); // an abort is the machine's end
      }
    };
    void followToEnd();
  }

  /** False also when the shim does not say. */
  async #hasExited(): Promise<boolean> {
    const child = await this.child().catch(() => undefined);
    return child?.running === false;
  }

  /** The VMM has ended. */
  ended(): void {
    this.detach();
    this.#machine = undefined;
  }

  /** Lets go of the machine; it runs on. */
  detach(): void {
    this.#life.abort();
    this.#machine?.detach();
  }

  /** The VMM as its shim has it now. */
  async child(): Promise<Child | undefined> {
    const { children } = await this.#pod.shim.describe();
    return children.find((each) => each.key === VMM_KEY);
  }

  /** Undefined when no machine runs. */
  async figures(
    record: VmmRecord | undefined,
    signal: AbortSignal,
  ): Promise<MachineFigures | undefined> {
    const vmm = record?.vmmPid;
    if (this.#machine === undefined || vmm === undefined) return undefined;
    const taps = guestLinks(this.#pod.document).filter((link) => link !== undefined);
    const [guest, host] = await Promise.all([
      this.#machine.stats(signal),
      hostFigures({ vmm, shim: this.#pod.facts.pid, taps }),
    ]);
    return { guest, ...host };
  }

  /** Undefined when no machine runs. */
  async report(signal: AbortSignal): Promise<MachineReport | undefined> {
    return this.#machine?.report(signal);
  }

  host(record: VmmRecord, onSpawned?: () => void): ShimProcessHost {
    const { shim, files, deps, sandbox, identity } = this.#pod;
    // A guest whose pod has no such task prints into its spool alone.
    const sandboxTask = sandbox.isPodSandbox ? identity.sandboxId : "";
    return new ShimProcessHost(shim, {
      machineDir: files.machineDir,
      taskId: record.taskId,
      consoleTaskId: record.taskId === "" ? sandboxTask : record.taskId,
      uid: record.uid,
      gid: record.uid,
      logPath: files.vmmLog,
      spoolPath: files.consoleSpool,
      spoolBytes: deps.config.machines.consoleSpoolBytes,
      attachPath: files.consoleAttach,
      guestPath: files.guestSocket,
      guestPorts: record.spec.guestPorts ?? [],
      oomScoreAdj: record.oomScoreAdj,
      ...(onSpawned === undefined ? {} : { onSpawned }),
    });
  }
}

function hasEnded(life: AbortSignal): boolean {
  return life.aborted;
}
