import { parseMachineAnnotations } from "@trine/annotations";
import type { MachineSettings } from "@trine/annotations";
import { TrineError, Undo, messageOf, sleep } from "@trine/base";
import type { Child } from "@trine/proto/shim";
import { ShimProcessHost } from "@trine/shim-client";
import { VMM_KEY } from "@trine/vmm";
import type { Machine } from "@trine/vmm";
import { readBundle } from "./bundle.ts";
import type { Bundle } from "./bundle.ts";
import { createMachine } from "./create-machine.ts";
import { GuestExecs } from "./guest-execs.ts";
import { hostFigures } from "./machine-figures.ts";
import type { MachineFigures } from "./machine-figures.ts";
import { TAP } from "./machine-input.ts";
import { transition } from "./machine-state.ts";
import type { MachineRequest, MachineState } from "./machine-state.ts";
import type { PodContext } from "./pod-context.ts";
import type { MachineRecord } from "./pod-document.ts";
import { removeMachineFiles } from "./pod-files.ts";
import { containerNameOf } from "./pod-identity.ts";
import type { AddExec, CreateTask } from "./requests.ts";
import { serveDhcp } from "./sandbox-network.ts";
import { hostnameOf, podDns } from "./seed.ts";
import { machineStats } from "./stats.ts";
import type { PodStats } from "./stats.ts";
import { pressPowerButton } from "./stop-machine.ts";

const SIGKILL = 9;
/** Signals that ask a process to end: for a machine, the power button. */
const STOP_SIGNALS = new Set([1, 2, 3, 15, 37]); // HUP INT QUIT TERM RTMIN+3 (systemd's halt)
const START_MS = 120_000;
const RECOVER_MS = 20_000;
const MONITOR_MS = 30_000;
const MONITOR_RETRY_MS = 1_000;

/** A pod's machine through its states (machine-state.ts). Called from the pod's queue only. */
export class MachineKeeper {
  readonly execs: GuestExecs;
  readonly #pod: PodContext;
  #machine: Machine | undefined;
  /** When the create that is under way came in, on the monotonic clock. */
  #createdMs: number | undefined;
  /** Aborted when the machine ends, with everything that watches it. */
  #life = new AbortController();

  constructor(pod: PodContext) {
    this.#pod = pod;
    this.execs = new GuestExecs({
      shim: pod.shim,
      log: pod.log,
      records: pod.document.execs,
      save: () => pod.save(),
    });
  }

  async create(task: CreateTask): Promise<void> {
    this.#createdMs = performance.now();
    const { document, identity, sandbox, log } = this.#pod;
    const bundle = await readBundle(task.bundle);
    // containerd repeats the pod's annotations on its containers; docker and ctr have only those.
    const settings = parseMachineAnnotations({ ...bundle.annotations, ...sandbox.annotations });
    this.#refuseOther(task, bundle, settings);
    if (this.#next("create") === undefined) return;

    const undo = new Undo();
    try {
      document.machine = await this.#prepare(task, bundle, settings, undo);
      await this.#pod.save();
    } catch (cause) {
      for (const failed of await undo.run()) {
        log.error({ err: messageOf(failed.cause) }, `undo failed: ${failed.what}`);
      }
      delete document.machine;
      throw TrineError.during(`create the machine of pod ${identity.name}`, cause);
    }
  }

  async start(id: string, signal: AbortSignal): Promise<void> {
    const record = this.#record(id);
    const next = this.#next("start");
    if (next === undefined) return;
    this.detach(); // of a start that failed after the machine was there
    this.#life = new AbortController();
    const { driver } = this.#pod.deps;
    const until = AbortSignal.any([signal, AbortSignal.timeout(START_MS)]);
    this.#machine = await driver.start(record.spec, this.#host(record), until);
    const vmmPid = (await this.#child())?.pid;
    if (vmmPid !== undefined) record.vmmPid = vmmPid;
    await this.#become(record, next);
    this.#watch(record, this.#machine);
  }

  async kill(id: string, signal: number): Promise<void> {
    const record = this.#record(id);
    if (record.state === "ended") throw gone(record);
    if (signal === SIGKILL) {
      await this.#pod.shim.signal(VMM_KEY, SIGKILL);
      return;
    }
    if (!STOP_SIGNALS.has(signal)) {
      throw new TrineError(
        "invalid",
        `signal ${signal} means nothing to a machine: TERM (the power button) and KILL do`,
      );
    }
    const next = this.#next("stop");
    if (next === undefined) return;
    const machine = this.#running(id);
    if (record.state === "paused") await machine.resume(bounded(this.#life.signal));
    await this.#become(record, next);
    this.#pressUntilEnd(machine);
  }

  async delete(id: string): Promise<void> {
    const record = this.#pod.document.machine;
    if (record?.taskId !== id) return; // deleted before, or its create never finished
    await this.#noticeEnd();
    this.#next("delete");
    await this.#takeApart(record);
  }

  /** The shim has told containerd, while this daemon was away, that the task is gone. */
  async removed(id: string): Promise<void> {
    const record = this.#pod.document.machine;
    if (record?.taskId === id) await this.#takeApart(record);
  }

  async #takeApart(record: MachineRecord): Promise<void> {
    const { document, shim, files } = this.#pod;
    await shim.reap(VMM_KEY);
    await shim.unmount(`${record.bundle}/rootfs`);
    await removeMachineFiles(files);
    this.release();
    this.execs.forgetAll();
    delete document.machine;
    await this.#pod.save();
  }

  pause(id: string, signal: AbortSignal): Promise<void> {
    return this.#move(id, "pause", (machine) => machine.pause(bounded(signal)));
  }

  resume(id: string, signal: AbortSignal): Promise<void> {
    return this.#move(id, "resume", (machine) => machine.resume(bounded(signal)));
  }

  async addExec(exec: AddExec): Promise<void> {
    this.#running(exec.id);
    await this.execs.add(exec);
  }

  async stats(id: string, signal: AbortSignal): Promise<PodStats> {
    const mine = this.#pod.document.machine?.taskId === id;
    if (!mine || this.#machine === undefined) return machineStats(undefined);
    return machineStats(await this.#machine.stats(signal));
  }

  /** Undefined when no machine runs. */
  async figures(signal: AbortSignal): Promise<MachineFigures | undefined> {
    const { document, facts } = this.#pod;
    const vmm = document.machine?.vmmPid;
    if (this.#machine === undefined || vmm === undefined) return undefined;
    const [guest, host] = await Promise.all([
      this.#machine.stats(signal),
      hostFigures({ vmm, shim: facts.pid, tap: TAP }),
    ]);
    return { guest, ...host };
  }

  /** After a daemon's restart: the document says what was meant, the shim's children what is. */
  async recover(): Promise<void> {
    const { document, deps, facts, log } = this.#pod;
    const record = document.machine;
    if (record === undefined) return;
    deps.uids.adopt(record.uid, this.#uidOwner());
    if (!facts.processes.some((each) => each.id === record.taskId && each.execId === "")) {
      await this.removed(record.taskId);
      return;
    }
    const child = facts.children.find((each) => each.key === VMM_KEY);
    if (child === undefined) return;
    if (!child.running) {
      await this.ended(child);
      return;
    }
    const signal = AbortSignal.timeout(RECOVER_MS);
    const machine = await deps.driver.recover(record.spec, this.#host(record), signal);
    this.#machine = machine;
    if (record.state === "created") await this.#become(record, "running");
    this.#watch(record, machine);
    if (record.state === "stopping") this.#pressUntilEnd(machine);
    this.execs.resume(record.taskId);
    log.info({ vmm: child.pid, state: record.state }, "machine adopted");
  }

  /** The VMM has ended. A replayed event of an earlier machine of this pod changes nothing. */
  async ended(child: Child): Promise<void> {
    const record = this.#pod.document.machine;
    if (record === undefined || record.state === "ended" || child.taskId !== record.taskId) return;
    this.detach();
    this.#machine = undefined;
    await this.execs.endAll(record.taskId);
    await this.#become(record, "ended");
    const { exitStatus, reason, signal, oom } = child;
    this.#pod.log.info({ exitStatus, reason, signal, oom }, "machine ended");
  }

  /** containerd deletes as soon as Wait returns, maybe before the event of the end has come to us. */
  async #noticeEnd(): Promise<void> {
    const child = await this.#child();
    if (child?.running === false) await this.ended(child);
  }

  /** The VMM as its shim has it now. */
  async #child(): Promise<Child | undefined> {
    const { children } = await this.#pod.shim.describe();
    return children.find((each) => each.key === VMM_KEY);
  }

  /** Lets go of the machine; it runs on. */
  detach(): void {
    this.#life.abort();
    this.#machine?.detach();
  }

  /** Gives the machine's user id back. */
  release(): void {
    this.#pod.deps.uids.release(this.#uidOwner());
  }

  async #prepare(
    task: CreateTask,
    bundle: Bundle,
    settings: MachineSettings,
    undo: Undo,
  ): Promise<MachineRecord> {
    const { shim, deps, document, files, identity, facts } = this.#pod;
    const uid = deps.uids.take(this.#uidOwner());
    undo.defer("release the user id", () => {
      this.release();
      return Promise.resolve();
    });
    undo.defer("remove the machine's files", () => removeMachineFiles(files));
    const network = document.network;
    const input = { identity, task, bundle, settings, network, files, uid, cgroups: facts.cgroups };
    const spec = await createMachine({ shim, config: deps.config, undo }, input);
    if (network !== undefined) {
      const dns = await podDns(bundle.resolvConf);
      await serveDhcp(shim, network, { hostname: hostnameOf(input), dns });
    }
    return {
      taskId: task.id,
      bundle: task.bundle,
      containerName: containerNameOf(bundle) ?? task.id,
      uid,
      oomScoreAdj: bundle.oomScoreAdj,
      spec,
      state: "created",
    };
  }

  /** Decision 8: one machine a pod, and which container it is. */
  #refuseOther(task: CreateTask, bundle: Bundle, settings: MachineSettings): void {
    const name = containerNameOf(bundle) ?? task.id;
    const machine = this.#pod.document.machine;
    if (machine !== undefined && machine.taskId !== task.id) {
      throw new TrineError(
        "invalid",
        `container ${name}: pod ${this.#pod.identity.name} already has its machine, ` +
          `container ${machine.containerName}; a pod has one machine`,
      );
    }
    if (settings.machine !== undefined && settings.machine !== name) {
      throw new TrineError(
        "unimplemented",
        `container ${name}: trine.dev/machine names ${settings.machine}, and ordinary containers ` +
          "beside a machine are not supported yet",
      );
    }
    if (settings.disks.length > 0) {
      throw new TrineError("unimplemented", "trine.dev/disks: further disks are not supported yet");
    }
  }

  #watch(record: MachineRecord, machine: Machine): void {
    const { log } = this.#pod;
    const life = this.#life.signal;
    if (record.spec.guestAgent) this.execs.attach(this.#host(record), life);
    const follow = async (): Promise<void> => {
      for await (const event of machine.events(life)) {
        log.info({ what: event.what, detail: event.detail }, "machine event");
      }
    };
    const followToEnd = async (): Promise<void> => {
      while (!hasEnded(life)) {
        const cause: unknown = await follow().catch((error: unknown) => error);
        if (hasEnded(life)) return;
        log.warn({ err: cause === undefined ? "closed" : messageOf(cause) }, "monitor lost");
        await sleep(MONITOR_RETRY_MS, life).catch(() => undefined); // an abort is the machine's end
      }
    };
    void followToEnd();
  }

  #pressUntilEnd(machine: Machine): void {
    const { log, deps } = this.#pod;
    const everyMs = deps.config.machines.powerButtonEveryMs;
    void pressPowerButton(machine, { everyMs, log }, this.#life.signal);
  }

  #host(record: MachineRecord): ShimProcessHost {
    const { shim, files, deps } = this.#pod;
    return new ShimProcessHost(shim, {
      machineDir: files.machineDir,
      taskId: record.taskId,
      uid: record.uid,
      gid: record.uid,
      logPath: files.vmmLog,
      spoolPath: files.consoleSpool,
      spoolBytes: deps.config.machines.consoleSpoolBytes,
      attachPath: files.consoleAttach,
      oomScoreAdj: record.oomScoreAdj,
      onSpawned: () => {
        if (this.#createdMs === undefined) return; // an earlier daemon's create
        const launchMs = performance.now() - this.#createdMs;
        this.#pod.log.info({ launchMs }, "machine launched");
        deps.onLaunched?.(launchMs);
      },
    });
  }

  #record(id: string): MachineRecord {
    const record = this.#pod.document.machine;
    if (record?.taskId === id) return record;
    throw new TrineError("notFound", `no machine ${id} in pod ${this.#pod.identity.name}`);
  }

  #running(id: string): Machine {
    const record = this.#record(id);
    if (this.#machine !== undefined) return this.#machine;
    throw new TrineError(
      "wrongState",
      `container ${record.containerName}: its machine is ${record.state}`,
    );
  }

  async #move(
    id: string,
    request: MachineRequest,
    act: (machine: Machine) => Promise<void>,
  ): Promise<void> {
    const record = this.#record(id);
    const next = this.#next(request);
    if (next === undefined) return;
    await act(this.#running(id));
    await this.#become(record, next);
  }

  /** The state a request leads to; undefined when it is satisfied already; refusals throw. */
  #next(request: MachineRequest): MachineState | undefined {
    const verdict = transition(this.#pod.document.machine?.state ?? "absent", request);
    switch (verdict.verdict) {
      case "accepted":
        return verdict.to;
      case "already":
        return undefined;
      case "refused":
        throw new TrineError("wrongState", `pod ${this.#pod.identity.name}: ${verdict.why}`);
    }
  }

  async #become(record: MachineRecord, state: MachineState): Promise<void> {
    const before = record.state;
    record.state = state;
    try {
      await this.#pod.save();
    } catch (cause) {
      record.state = before; // so that the repeat does the rest
      throw cause;
    }
    this.#pod.log.info({ state }, "machine state");
  }

  #uidOwner(): string {
    const { namespace, sandboxId } = this.#pod.identity;
    return `${namespace}/${sandboxId}`;
  }
}

function hasEnded(life: AbortSignal): boolean {
  return life.aborted;
}

function gone(record: MachineRecord): TrineError {
  return new TrineError("notFound", `container ${record.containerName}: its machine has ended`);
}

/** A caller may set no deadline, and a VMM that hangs must not stop the pod's queue for ever. */
function bounded(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(MONITOR_MS)]);
}
