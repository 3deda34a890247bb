import { TrineError, Undo, kindOf, messageOf } from "@trine/base";
import type { AgentClient } from "@trine/guest-link";
import type { Event } from "@trine/proto/shim";
import { Status } from "@trine/proto/task";
import { VMM_KEY } from "@trine/vmm";
import type { MachineReport } from "@trine/vmm";
import { createContainer, removeContainer } from "./create-container.ts";
import { FILE_SERVER_KEY } from "./file-server.ts";
import { joinLateNetwork } from "./late-network.ts";
import { GuestSandbox } from "./guest-sandbox.ts";
import type { MachineFigures } from "../machine-figures.ts";
import { become, undoAll } from "../change-state.ts";
import type { PodContext } from "../pod-context.ts";
import type { ContainerRecord } from "../pod-document.ts";
import { PodGuest } from "./pod-guest.ts";
import type { AddExec, CreateTask, ProcessRef, ResizeProcess } from "../requests.ts";
import { containerStats, noStats } from "../stats.ts";
import type { PodStats } from "../stats.ts";
import type { TaskKeeper } from "../task-keeper.ts";
import { updateContainer } from "./update-container.ts";
import { welcomeSpare } from "./use-spare.ts";
import { VolumeSizes } from "./volume-sizes.ts";

const SIGKILL = 9;
/** Names of the share's directories, and the agent's own rule for containers. */
const CONTAINER_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
/** What a guest that hangs, or is not there, makes of a call. */
const SILENT = ["timeout", "unavailable"];

/**
 * Level microvm: the pod's containers run in one guest of their own. The guest starts with the sandbox; the
 * agent in it makes the containers from what containerd wants of them.
 *
 *   guest       preparing -> booting -> running -> ended
 *   container   creating -> created -> running <-> paused, all -> ended; gone with its delete
 */
export class GuestContainers implements TaskKeeper {
  readonly #pod: PodContext;
  readonly #guest: PodGuest;
  readonly #sandbox: GuestSandbox;
  readonly #sizes: VolumeSizes;

  constructor(pod: PodContext) {
    this.#pod = pod;
    this.#guest = new PodGuest(pod);
    this.#sandbox = new GuestSandbox(pod, this.#guest);
    this.#sizes = new VolumeSizes(pod, this.#guest);
  }

  createSandbox(): Promise<void> {
    return this.#sandbox.create();
  }

  async create(task: CreateTask): Promise<void> {
    const { document, identity } = this.#pod;
    const guest = document.guest;
    if (guest === undefined || guest.state === "ended") throw this.#gone();
    if ((guest.containers[task.id]?.state ?? "creating") !== "creating") return;
    const machine = this.#guest.vmm.machine;
    if (machine === undefined) throw this.#gone();
    if (!CONTAINER_ID.test(task.id)) {
      throw new TrineError("invalid", `container id ${JSON.stringify(task.id)} is no name`);
    }
    const undo = new Undo();
    try {
      const agent = (): Promise<AgentClient> => this.#sandbox.bootedAgent(guest);
      await createContainer(this.#pod, { guest, machine, agent }, task, undo);
      this.#sizes.watch();
    } catch (cause) {
      await undoAll(this.#pod, undo);
      const other = this.#guest.vmm.machine;
      // A guest that did not come up has made place for another, which boots.
      if (other !== undefined && other !== machine) {
        await this.create(task);
        return;
      }
      if (task.id === identity.sandboxId) await this.#sandbox.takeApart(); // it has no sandbox to be deleted
      throw TrineError.during(`create container ${task.id}`, cause);
    }
  }

  async start(process: ProcessRef): Promise<void> {
    if (this.#pod.isSandboxTask(process.id)) return;
    const record = this.#container(process.id);
    const agent = await this.#guest.agent();
    if (process.execId === "") await joinLateNetwork(this.#pod, agent);
    await agent.startProcess(inGuest(process));
    // Its process id would name some process of the host: the shim's own stands for it.
    await this.#pod.shim.setProcess({ ...refOf(process), status: Status.RUNNING });
    if (process.execId === "" && record.state === "created")
      await become(this.#pod, record, "running");
  }

  async kill(process: ProcessRef, kill: { signal: number; all: boolean }): Promise<void> {
    if (this.#pod.isSandboxTask(process.id)) return;
    this.#container(process.id);
    if (this.#guest.vmm.machine === undefined) throw this.#gone();
    const { signal, all } = kill;
    try {
      const agent = await this.#guest.agent();
      await agent.signal(inGuest(process), signal, all);
    } catch (cause) {
      const kind = kindOf(cause);
      if (kind === "wrongState") throw new TrineError("notFound", messageOf(cause), { cause });
      if (signal !== SIGKILL || !SILENT.includes(kind)) throw cause;
      // Nothing in it can be ended any more, and a pod must be.
      this.#pod.log.error({ err: messageOf(cause) }, "the guest does not answer and is ended");
      await this.#guest.signalChild(VMM_KEY);
    }
  }

  async delete(process: ProcessRef): Promise<void> {
    const { document, identity } = this.#pod;
    const guest = document.guest;
    if (guest === undefined) return;
    if (process.execId !== "") await (await this.#agentIfAny())?.removeProcess(inGuest(process));
    else if (process.id === identity.sandboxId) await this.#sandbox.takeApart();
    else {
      const agent = await this.#agentIfAny();
      const { machine } = this.#guest.vmm;
      await removeContainer(this.#pod, { guest, machine, agent }, process.id);
    }
  }

  async addExec(exec: AddExec): Promise<void> {
    this.#container(exec.id);
    const { id, execId, terminal, stdin } = exec;
    const agent = await this.#guest.agent();
    await agent.createProcess({ ...inGuest(exec), process: exec.process, terminal, stdin });
    await this.#pod.shim.attachGuest({
      id,
      execId,
      guestContainer: id,
      guestExec: execId,
      terminal,
    });
  }

  async pause(id: string): Promise<void> {
    const record = this.#container(id);
    if (record.state === "paused") return;
    await (await this.#guest.agent()).pause(id);
    await become(this.#pod, record, "paused");
  }

  async resume(id: string): Promise<void> {
    const record = this.#container(id);
    if (record.state === "running") return;
    await (await this.#guest.agent()).resume(id);
    await become(this.#pod, record, "running");
  }

  async update(id: string, resources: Uint8Array): Promise<void> {
    this.#container(id);
    const agent = await this.#guest.agent();
    const { machine, life } = this.#guest.vmm;
    const record = this.#pod.document.guest;
    if (record === undefined || machine === undefined) throw this.#gone();
    await updateContainer(this.#pod, { record, machine, agent, life }, id, resources);
  }

  async resize({ width, height, ...process }: ResizeProcess): Promise<void> {
    const record = this.#pod.document.guest?.containers[process.id];
    if (record === undefined) return; // of a terminal that is gone
    await (await this.#agentIfAny())?.resize(inGuest(process), { width, height });
  }

  async stats(id: string, signal: AbortSignal): Promise<PodStats> {
    const state = this.#pod.document.guest?.containers[id]?.state;
    if (state !== "running" && state !== "paused") return noStats();
    const agent = await this.#guest.agent();
    return containerStats(await agent.stats(id, signal));
  }

  figures(signal: AbortSignal): Promise<MachineFigures | undefined> {
    return this.#guest.vmm.figures(this.#pod.document.guest, signal);
  }

  report(signal: AbortSignal): Promise<MachineReport | undefined> {
    return this.#guest.vmm.report(signal);
  }

  async recover(): Promise<void> {
    const { document, deps, facts, identity, log } = this.#pod;
    const guest = document.guest;
    if (document.spare !== undefined) await welcomeSpare(this.#pod, document.spare);
    if (guest === undefined) return;
    deps.uids.adopt(guest.uid, this.#pod.key);
    const tasks = new Set(facts.processes.filter((p) => p.execId === "").map((p) => p.id));
    if (!tasks.has(identity.sandboxId)) {
      await this.#sandbox.takeApart(); // deleted while no daemon was there
      return;
    }
    const child = facts.children.find((each) => each.key === VMM_KEY);
    const runs = child?.running === true;
    if (guest.state === "preparing") await this.#sandbox.startAgain(guest, runs);
    else if (runs) await this.#guest.recover(guest);
    else {
      if (child !== undefined) await this.#sandbox.ended(child);
      return;
    }
    for (const id of Object.keys(guest.containers)) {
      if (!tasks.has(id)) await this.#removed(id);
    }
    this.#sizes.watch();
    log.info({ vmm: guest.vmmPid, state: guest.state }, "guest adopted");
  }

  async apply({ what }: Event): Promise<void> {
    switch (what.case) {
      case "childExited":
        if (what.value.key === VMM_KEY) await this.#sandbox.ended(what.value);
        else if (what.value.key === FILE_SERVER_KEY) await this.#sandbox.serverEnded(what.value);
        break;
      case "processExited": {
        const { id, execId } = what.value;
        const record = this.#pod.document.guest?.containers[id];
        if (execId === "" && record !== undefined) await become(this.#pod, record, "ended");
        break;
      }
      case "taskRemoved":
        await this.#removed(what.value.id);
        break;
      case "resize":
        await this.resize(what.value).catch((cause: unknown) => {
          // The next change of the window brings another.
          this.#pod.log.warn(
            { err: messageOf(cause) },
            "a terminal's size did not reach the guest",
          );
        });
        break;
      case "note":
      case undefined:
        break;
    }
  }

  detach(): void {
    this.#sizes.stop();
    this.#guest.detach();
  }

  /** containerd has been told that a task is gone; maybe while no daemon was there. */
  async #removed(id: string): Promise<void> {
    const guest = this.#pod.document.guest;
    if (guest === undefined) return;
    if (id === this.#pod.identity.sandboxId) await this.#sandbox.takeApart();
    else {
      const agent = await this.#agentIfAny();
      const { machine } = this.#guest.vmm;
      await removeContainer(this.#pod, { guest, machine, agent }, id);
    }
  }

  /** Undefined when the guest has ended. */
  async #agentIfAny(): Promise<AgentClient | undefined> {
    return this.#guest.vmm.machine === undefined ? undefined : this.#guest.agent();
  }

  #container(id: string): ContainerRecord {
    const record = this.#pod.document.guest?.containers[id];
    if (record !== undefined) return record;
    throw new TrineError("notFound", `no container ${id} in pod ${this.#pod.identity.name}`);
  }

  #gone(): TrineError {
    return new TrineError("notFound", `pod ${this.#pod.identity.name}: its guest has ended`);
  }
}

function inGuest({ id, execId }: ProcessRef): { container: string; exec: string } {
  return { container: id, exec: execId };
}

function refOf({ id, execId }: ProcessRef): ProcessRef {
  return { id, execId };
}
