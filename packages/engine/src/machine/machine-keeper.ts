import { parseMachineAnnotations } from "@trine/annotations";
import { TrineError, Undo, messageOf } from "@trine/base";
import type { Child, Event } from "@trine/proto/shim";
import { VMM_KEY } from "@trine/vmm";
import type { Machine, MachineReport } from "@trine/vmm";
import { become, undoAll } from "../change-state.ts";
import { readBundle } from "../bundle.ts";
import { cpusOf } from "./hardware.ts";
import { MachineExecs } from "./machine-execs.ts";
import { DiskSizes } from "./disk-sizes.ts";
import type { MachineFigures } from "../machine-figures.ts";
import { isMachine } from "./machine-role.ts";
import { MachineControl } from "./machine-control.ts";
import { nextState } from "./machine-state.ts";
import type { MachineRequest, MachineState } from "./machine-state.ts";
import { lastWords } from "../last-words.ts";
import { lostHelper } from "./machine-helpers.ts";
import type { Revivals } from "./machine-helpers.ts";
import { passtRevival, sharesRevival } from "./helper-revival.ts";
import { PASST_KEY } from "./machine-passt.ts";
import { SHARES_KEY } from "./machine-shares.ts";
import { nestContainer } from "./nest-container.ts";
import type { Onliner } from "./onlining.ts";
import { requireOneMachine } from "./one-machine.ts";
import type { PodContext } from "../pod-context.ts";
import type { GuestSize, MachineRecord } from "../pod-document.ts";
import { containerNameOf } from "../pod-identity.ts";
import { PodVmm } from "../pod-vmm.ts";
import { prepareMachine } from "./prepare-machine.ts";
import type { AddExec, CreateTask, ProcessRef, ResizeProcess } from "../requests.ts";
import { giveSize, resizeMachine } from "./resize-machine.ts";
import { joinNetwork } from "../sandbox-network.ts";
import { machineStats } from "../stats.ts";
import type { PodStats } from "../stats.ts";
import { startMachine } from "./start-machine.ts";
import { pressPowerButton, requireStopSignal } from "./stop-machine.ts";
import { takeMachineApart } from "./take-machine-apart.ts";
import type { TaskKeeper } from "../task-keeper.ts";

const SIGABRT = 6;
const SIGKILL = 9;
/** Of a network card: as many as the shim opens. */
const MAX_QUEUES = 16;
const MONITOR_MS = 30_000;

/** Level vm: the pod's container is a machine, through its states (machine-state.ts). */
export class MachineKeeper implements TaskKeeper {
  readonly #pod: PodContext;
  readonly #execs: MachineExecs;
  readonly #vmm: PodVmm;
  readonly #sizes: DiskSizes;
  readonly control: MachineControl;
  #revivals: Revivals = {};
  /** When the create that is under way came in, on the monotonic clock. */
  #createdMs: number | undefined;

  constructor(pod: PodContext) {
    this.#pod = pod;
    this.#vmm = new PodVmm(pod);
    this.#execs = new MachineExecs(pod);
    this.#sizes = new DiskSizes(pod, this.#vmm);
    this.control = new MachineControl(pod, this.#vmm, {
      qemu: () => this.#execs.qemuAgent,
      ours: () => this.#execs.voice,
    });
  }

  /** A wrong annotation fails the pod here, before anything runs. */
  async createSandbox(): Promise<void> {
    const settings = parseMachineAnnotations(this.#pod.sandbox.annotations);
    const { document } = this.#pod;
    document.bindings ??= settings.networkBindings;
    const { networkMac, interfaces } = settings;
    if (Object.keys(interfaces).length > 0) document.hidden ??= interfaces;
    if (networkMac !== undefined) document.guestMac ??= networkMac;
    if (settings.networkMultiqueue) document.queues ??= Math.min(cpusOf(settings), MAX_QUEUES);
    await joinNetwork(this.#pod, "address");
  }

  async create(task: CreateTask): Promise<void> {
    this.#createdMs = performance.now();
    const { document, identity, sandbox } = this.#pod;
    const bundle = await readBundle(task.bundle);
    // containerd repeats the pod's annotations on its containers; docker and ctr have only those.
    const settings = parseMachineAnnotations({ ...bundle.annotations, ...sandbox.annotations });
    const name = containerNameOf(bundle) ?? task.id;
    const isImport = settings.imports?.split(",").includes(name) === true;
    if (isImport || !(await isMachine(this.#pod, { task, name }, settings))) {
      await nestContainer(this.#pod, { id: task.id, name, isImport }, bundle);
      return;
    }
    requireOneMachine({ id: task.id, name, podName: identity.name }, document.machine);
    if (this.#next("create") === undefined) return;

    const undo = new Undo();
    try {
      document.machine = await prepareMachine(this.#pod, { task, bundle, settings }, undo);
      document.machineName = name;
      await this.#pod.save();
    } catch (cause) {
      await undoAll(this.#pod, undo);
      delete document.machine;
      delete document.machineName;
      throw TrineError.during(`create the machine of pod ${identity.name}`, cause);
    }
  }

  async start(process: ProcessRef, signal: AbortSignal): Promise<void> {
    if (process.execId !== "") {
      await this.#execs.start(process);
      return;
    }
    if (this.#pod.isSandboxTask(process.id)) return;
    const record = this.#record(process.id);
    const next = this.#next("start");
    if (next === undefined) return;
    await startMachine(this.#pod, this.#vmm, record, {
      signal,
      onSpawned: () => {
        this.#launched();
      },
    });
    await become(this.#pod, record, startedState(record));
    this.#watch(record);
  }

  async kill(process: ProcessRef, { signal }: { signal: number }): Promise<void> {
    if (process.execId !== "") {
      await this.#execs.kill(process, signal);
      return;
    }
    if (this.#pod.isSandboxTask(process.id)) return;
    const record = this.#record(process.id);
    if (record.state === "ended") throw gone(record);
    if (signal === SIGKILL) {
      await this.#pod.shim.signal(VMM_KEY, SIGKILL);
      return;
    }
    requireStopSignal(signal);
    const next = this.#next("stop");
    if (next === undefined) return;
    const machine = this.#running(process.id);
    await this.control.endSoftReboot();
    await this.control.wake();
    await become(this.#pod, record, next);
    this.#pressUntilEnd(machine);
  }

  async delete(process: ProcessRef): Promise<void> {
    if (process.execId !== "") {
      await this.#execs.remove(process);
      return;
    }
    const record = this.#pod.document.machine;
    if (record?.taskId !== process.id) return; // deleted before, or its create never finished
    // containerd deletes as soon as Wait returns, maybe before the event of the end has come to us.
    const child = await this.#vmm.child();
    if (child?.running === false) await this.#ended(child);
    this.#next("delete");
    await this.#takeApart(record);
  }

  pause(id: string, signal: AbortSignal): Promise<void> {
    return this.#move(id, "pause", (machine) => machine.pause(bounded(signal)));
  }

  resume(id: string, signal: AbortSignal): Promise<void> {
    // Nobody has paused it: its VMM has stopped it by itself.
    if (this.control.isHalted && this.#record(id).state !== "paused")
      return this.control.resumeHalted(bounded(signal));
    return this.#move(id, "resume", (machine) => machine.resume(bounded(signal)));
  }

  async addExec(exec: AddExec): Promise<void> {
    this.#running(exec.id);
    await this.#execs.add(exec);
  }

  async update(id: string, resources: Uint8Array, signal: AbortSignal): Promise<void> {
    if (this.#pod.isSandboxTask(id)) return;
    await resizeMachine(this.#pod, this.#resizable(id, signal), resources);
  }

  async giveSize(id: string, size: GuestSize, signal: AbortSignal): Promise<void> {
    await giveSize(this.#pod, this.#resizable(id, signal), size);
  }

  resize(process: ResizeProcess): Promise<void> {
    return this.#execs.resize(process);
  }

  async stats(id: string, signal: AbortSignal): Promise<PodStats> {
    const mine = this.#pod.document.machine?.taskId === id;
    const machine = mine ? this.#vmm.machine : undefined;
    if (machine === undefined) return machineStats(undefined);
    const [stats, said] = await Promise.all([machine.stats(signal), this.#execs.stats(signal)]);
    return machineStats(stats, said);
  }

  figures(signal: AbortSignal): Promise<MachineFigures | undefined> {
    return this.#vmm.figures(this.#pod.document.machine, signal);
  }

  report(signal: AbortSignal): Promise<MachineReport | undefined> {
    return this.#vmm.report(signal);
  }

  async recover(): Promise<void> {
    const { document, deps, facts, log } = this.#pod;
    const record = document.machine;
    if (record === undefined) return;
    deps.uids.adopt(record.uid, this.#pod.key);
    if (!facts.processes.some((each) => each.id === record.taskId && each.execId === "")) {
      await this.#takeApart(record); // deleted while no daemon was there
      return;
    }
    const child = facts.children.find((each) => each.key === VMM_KEY);
    if (child === undefined) return;
    if (!child.running) {
      await this.#ended(child);
      return;
    }
    await this.#vmm.recover(record);
    if (record.state === "created") await become(this.#pod, record, startedState(record));
    this.#watch(record);
    for (const revival of Object.values(this.#revivals)) revival?.revive();
    const machine = this.#running(record.taskId);
    if (record.state === "stopping") this.#pressUntilEnd(machine);
    this.#execs.resume(record.taskId);
    log.info({ vmm: child.pid, state: record.state }, "machine adopted");
  }

  async apply({ what }: Event): Promise<void> {
    if (what.case === "childExited" && what.value.key === VMM_KEY) await this.#ended(what.value);
    if (what.case === "childExited") await this.#lost(what.value);
    if (what.case === "resize") await this.#resized(what.value);
    const record = this.#pod.document.machine;
    const isRemoved = what.case === "taskRemoved" && what.value.id === record?.taskId;
    if (isRemoved) await this.#takeApart(record);
  }

  detach(): void {
    this.control.stop();
    this.#execs.detach();
    this.#sizes.stop();
    this.#vmm.detach();
  }

  /** The VMM has ended. A replayed event of an earlier machine of this pod changes nothing. */
  async #ended(child: Child): Promise<void> {
    const record = this.#pod.document.machine;
    if (record === undefined || record.state === "ended" || child.taskId !== record.taskId) return;
    this.#vmm.ended();
    this.control.stop();
    this.#sizes.stop();
    await this.#execs.endAll(record.taskId);
    noteEnd(record, child);
    await become(this.#pod, record, "ended");
    const { exitStatus, reason, signal, oom } = child;
    const end = { exitStatus, reason, signal, oom };
    if (signal === SIGABRT) {
      // The VMM found a fault of its own: without its words, which go with the pod, nobody finds it.
      const said = await lastWords(this.#pod.files.vmmLog).catch(messageOf);
      this.#pod.log.error({ ...end, said }, "machine ended");
      return;
    }
    this.#pod.log.info(end, "machine ended");
  }

  #lost(child: Child): Promise<void> {
    return lostHelper(this.#pod, { vmm: this.#vmm, revivals: this.#revivals }, child);
  }

  async #resized(size: ResizeProcess): Promise<void> {
    await this.#execs.resize(size).catch((cause: unknown) => {
      // The next change of the window brings another.
      this.#pod.log.warn({ err: messageOf(cause) }, "a terminal's size did not reach the guest");
    });
  }

  async #takeApart(record: MachineRecord): Promise<void> {
    await takeMachineApart(this.#pod, record);
    this.#execs.forgetAll();
    delete this.#pod.document.machine;
    await this.#pod.save();
  }

  #launched(): void {
    if (this.#createdMs === undefined) return; // an earlier daemon's create
    const launchMs = performance.now() - this.#createdMs;
    this.#pod.log.info({ launchMs }, "machine launched");
    this.#pod.deps.onLaunched?.(launchMs);
  }

  #watch(record: MachineRecord): void {
    this.#execs.attach(record, this.#vmm.host(record), this.#vmm.life);
    this.#vmm.follow((event) => {
      this.control.onEvent(event);
    });
    this.control.started();
    this.#sizes.watch();
    const { machine, life } = this.#vmm;
    this.#revivals = {
      [PASST_KEY]: machine && passtRevival(this.#pod, machine, life),
      [SHARES_KEY]: sharesRevival(this.#pod, life),
    };
  }

  #pressUntilEnd(machine: Machine): void {
    const { log, deps } = this.#pod;
    const everyMs = deps.config.machines.powerButtonEveryMs;
    void pressPowerButton(machine, { everyMs, log }, this.#vmm.life);
  }

  #record(id: string): MachineRecord {
    const record = this.#pod.document.machine;
    if (record?.taskId === id) return record;
    throw new TrineError("notFound", `no machine ${id} in pod ${this.#pod.identity.name}`);
  }

  #running(id: string): Machine {
    const record = this.#record(id);
    if (this.#vmm.machine !== undefined) return this.#vmm.machine;
    throw new TrineError(
      "wrongState",
      `container ${record.containerName}: its machine is ${record.state}`,
    );
  }

  #resizable(id: string, signal: AbortSignal): Parameters<typeof giveSize>[1] {
    const machine = this.#running(id);
    const onliner = (): Onliner => this.#execs.onliner();
    return { record: this.#record(id), machine, onliner, life: this.#vmm.life, signal };
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
    await become(this.#pod, record, next);
  }

  #next(request: MachineRequest): MachineState | undefined {
    const { document, identity } = this.#pod;
    return nextState(document.machine?.state ?? "absent", request, identity.name);
  }
}

function startedState({ spec }: MachineRecord): MachineState {
  return spec.startsPaused === true ? "paused" : "running";
}

function noteEnd(record: MachineRecord, { exitStatus: status, reason }: Child): void {
  record.end = { status, ...(reason === "" ? {} : { reason }) };
  delete record.frozenUntil;
  delete record.frozenBy;
  delete record.rebootUntil;
  delete record.rebootOff;
}

function gone(record: MachineRecord): TrineError {
  return new TrineError("notFound", `container ${record.containerName}: its machine has ended`);
}

/** A caller may set no deadline, and a VMM that hangs must not stop the pod's queue for ever. */
function bounded(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(MONITOR_MS)]);
}
