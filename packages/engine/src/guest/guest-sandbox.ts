import { TrineError, Undo, allDone, kindOf, messageOf } from "@trine/base";
import type { MicrovmSettings } from "@trine/annotations";
import type { AgentClient } from "@trine/guest-link";
import type { Child, Process } from "@trine/proto/shim";
import { Status } from "@trine/proto/task";
import { VMM_KEY } from "@trine/vmm";
import { removeContainer } from "./create-container.ts";
import { removeSlots } from "./slots.ts";
import { FILE_SERVER_KEY, removeShare } from "./file-server.ts";
import { become, undoAll } from "../change-state.ts";
import { releaseUid } from "../noted-uid.ts";
import type { PodContext } from "../pod-context.ts";
import type { GuestRecord } from "../pod-document.ts";
import { removeMachineFiles } from "../pod-files.ts";
import type { PodGuest } from "./pod-guest.ts";
import { prepareGuest, requireGuestPod } from "./prepare-guest.ts";
import { connectNetwork, prepareNetwork } from "../sandbox-network.ts";
import { endSpare, useSpare } from "./use-spare.ts";

const KILLED = 137;
/** Kinds of an agent's answer to settings that its kernel does not take. */
const REFUSALS = ["invalid", "wrongState"];

/** The sandbox of a microvm pod: what its containers have in common, from the VMM's start to its end. */
export class GuestSandbox {
  readonly #pod: PodContext;
  readonly #guest: PodGuest;

  constructor(pod: PodContext, guest: PodGuest) {
    this.#pod = pod;
    this.#guest = guest;
  }

  /** Refuses what a guest cannot honour, then starts the VMM: it boots while containers are prepared. */
  async create(): Promise<void> {
    const { document, identity } = this.#pod;
    if (document.guest !== undefined && document.guest.state !== "preparing") {
      await connectNetwork(this.#pod, "agent"); // a daemon that died may not have come to it
      return;
    }
    const settings = requireGuestPod(this.#pod);
    const undo = new Undo();
    try {
      await prepareNetwork(this.#pod);
      undo.defer("take the guest apart", () => this.takeApart());
      // What the guest's frames meet is there before anything of the pod's runs in it.
      await allDone([connectNetwork(this.#pod, "agent"), this.#start(settings, undo)]);
    } catch (cause) {
      await undoAll(this.#pod, undo);
      throw TrineError.during(`start the guest of pod ${identity.name}`, cause);
    }
  }

  async #start(settings: MicrovmSettings, undo: Undo): Promise<void> {
    const { document } = this.#pod;
    if (document.guest === undefined && (await this.#goOnFromSpare(settings))) return;
    document.guest ??= await prepareGuest(this.#pod, settings, undo);
    await this.#pod.save();
    await this.#guest.start(document.guest);
    await become(this.#pod, document.guest, "booting");
  }

  /** False: there is none, or none that can be used. The pod then boots its own. */
  async #goOnFromSpare(settings: MicrovmSettings): Promise<boolean> {
    const { document, log } = this.#pod;
    const guest = await useSpare(this.#pod, settings);
    if (guest === undefined) return false;
    document.guest = guest;
    try {
      await this.#guest.recover(guest);
    } catch (cause) {
      log.warn({ err: messageOf(cause) }, "the spare's guest is gone: the pod boots its own");
      await this.#guest.ended();
      delete document.guest;
      await endSpare(this.#pod);
      return false;
    }
    delete document.spare;
    await this.#pod.save();
    return true;
  }

  /**
   * The VMM has ended, and with it everything in it. A replayed event changes nothing, nor does the end of one
   * that another has taken the place of: a spare's that did not fit, a clone's that did not start.
   */
  async ended(child: Child): Promise<void> {
    const { document, shim, log } = this.#pod;
    const guest = document.guest;
    if (guest === undefined || guest.state === "ended" || guest.state === "preparing") return;
    const { processes, children } = await shim.describe();
    if (runs(children, VMM_KEY)) return;
    await this.#allEnded(guest, processes);
    const { reason, signal, exitCode, oom } = child;
    log.error({ reason, signal, exitCode, oom }, "the guest has ended under its pod");
  }

  /**
   * Goes on with a start that an earlier daemon was at: for the sandbox's Create, or of a guest in place of one that
   * did not take its size. One that fails is the end of a sandbox that runs; a Create is asked again, and says why.
   */
  async startAgain(guest: GuestRecord, isSpawned: boolean): Promise<void> {
    const { facts, identity, log } = this.#pod;
    try {
      if (!isSpawned) await this.#guest.endChild(VMM_KEY); // one that has ended keeps its key
      await this.#guest.start(guest); // a clone may wait for its state still
      await become(this.#pod, guest, "booting");
    } catch (cause) {
      log.error({ err: messageOf(cause) }, "the guest does not start");
      await this.#guest.endChild(VMM_KEY);
      const { processes } = facts;
      const isRunning = processes.some(
        ({ id, execId, status }) =>
          id === identity.sandboxId && execId === "" && status === Status.RUNNING,
      );
      if (isRunning) await this.#allEnded(guest, processes);
    }
  }

  async #allEnded(guest: GuestRecord, processes: readonly Process[]): Promise<void> {
    const { shim } = this.#pod;
    await this.#guest.ended();
    for (const { id, execId, status } of processes) {
      if (status === Status.STOPPED) continue;
      await shim.setProcess({ id, execId, status: Status.STOPPED, exitStatus: KILLED });
    }
    for (const record of Object.values(guest.containers)) if (record) record.state = "ended";
    await become(this.#pod, guest, "ended");
  }

  /** Its files are gone for the guest: nothing in it can go on. */
  async serverEnded({ exitCode, signal }: Child): Promise<void> {
    const guest = this.#pod.document.guest;
    if (guest === undefined || guest.state === "ended") return;
    const { children } = await this.#pod.shim.describe();
    if (runs(children, FILE_SERVER_KEY)) return; // it was a spare's that did not fit
    this.#pod.log.error({ exitCode, signal }, "the pod's file server has ended: so does its guest");
    await this.#guest.signalChild(VMM_KEY);
  }

  /** Ends the guest and removes all there is of it. Repeatable. */
  async takeApart(): Promise<void> {
    const { document, files, deps } = this.#pod;
    await this.#guest.ended();
    await this.#guest.endChild(VMM_KEY);
    await this.#guest.endChild(FILE_SERVER_KEY);
    const guest = document.guest;
    for (const id of Object.keys(guest?.containers ?? {})) {
      const gone = { machine: undefined, agent: undefined };
      if (guest !== undefined) await removeContainer(this.#pod, { guest, ...gone }, id);
    }
    await removeSlots(this.#pod, guest);
    await removeShare(this.#pod);
    await removeMachineFiles(files);
    await releaseUid(deps.uids, this.#pod.key, files.podDir);
    delete document.guest;
    delete document.spare;
    await this.#pod.save();
  }

  /** For the first container: a guest that has never answered by its deadline is ended. */
  async bootedAgent(guest: GuestRecord): Promise<AgentClient> {
    try {
      const agent = await this.#guest.agent();
      if (guest.state === "booting") this.#cameUp(guest);
      return agent;
    } catch (cause) {
      if (guest.state === "booting") {
        await this.#guest.signalChild(VMM_KEY);
        const key = guest.spec.origin?.template.key;
        // An agent that refuses what a pod asks for is well: the pod is not.
        const isRefusal = REFUSALS.includes(kindOf(cause));
        if (key !== undefined && !isRefusal) {
          this.#pod.deps.templates.distrust(key, messageOf(cause));
        }
      }
      throw cause;
    }
  }

  #cameUp(guest: GuestRecord): void {
    const { deps } = this.#pod;
    guest.state = "running"; // written down with the container
    const key = guest.spec.origin?.template.key;
    if (key !== undefined) deps.templates.used(key);
    deps.onGuestUp?.(guest.start ?? { how: "cold", why: "off" });
  }
}

function runs(children: readonly Child[], key: string): boolean {
  return children.some((child) => child.key === key && child.running);
}
