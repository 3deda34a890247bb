import { TrineError, kindOf, messageOf } from "@trine/base";
import { AgentClient, AgentVoice } from "@trine/guest-link";
import type { StatsResponse } from "@trine/proto/agent";
import { Status } from "@trine/proto/task";
import type { PodContext } from "../pod-context.ts";
import type { AddExec, ProcessRef, ResizeProcess } from "../requests.ts";

/** What the agent calls the guest where other calls name a container (crates/agent/src/machine.rs). */
const MACHINE = "machine";
/** One that runs answers in milliseconds; one that the guest has not started yet is not waited for. */
const ANSWER_MS = 2_000;
/** Who asks for figures has others to fall back on, and asks again. */
const FIGURES_MS = 1_000;
/** Who asks for figures asks often: a guest whose agent did not answer is left alone for as long. */
const SILENCE_MS = 30_000;
const SIGKILL = 9;
/** What a guest without an agent makes of a call. */
const SILENT = ["timeout", "unavailable", "notFound"];
const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Execs in a machine whose guest runs our agent (trine.dev/agent): terminals, input, output as it comes. The shim holds
 * their streams and learns their ends, so nothing of them is kept here.
 */
export class AgentExecs {
  readonly #pod: PodContext;
  /** Says of the guest what it is. */
  readonly voice = new AgentVoice(() => this.#agent);
  #agent: AgentClient | undefined;
  #life: AbortSignal = AbortSignal.abort();
  /** No figures are asked for before that, on the monotonic clock. */
  #silentUntil = 0;

  constructor(pod: PodContext) {
    this.#pod = pod;
  }

  /** A machine runs that may have the agent; `life` aborts with it. */
  attach(life: AbortSignal): void {
    this.detach();
    this.#agent = new AgentClient(this.#pod.files.guestSocket);
    this.#life = life;
    this.#silentUntil = 0;
  }

  detach(): void {
    this.#agent?.close();
    this.#agent = undefined;
  }

  /** False while the guest boots, and for one that never starts it. */
  async answers(): Promise<boolean> {
    const until = AbortSignal.any([this.#life, AbortSignal.timeout(ANSWER_MS)]);
    try {
      await this.#agent?.untilAnswers(until);
      this.#silentUntil = 0;
      return this.#agent !== undefined;
    } catch (cause) {
      if (kindOf(cause) === "unimplemented") throw cause; // of another release
      return false;
    }
  }

  /** As root, in the guest's own directory for it: users and directories of the container's image are not the guest's. */
  async add({ id, execId, argv, env, terminal, stdin }: AddExec): Promise<void> {
    const isSet = (name: string): boolean => env.some((line) => line.startsWith(`${name}=`));
    const process = {
      args: argv,
      env: [...env, ...(isSet("PATH") ? [] : [PATH]), ...(isSet("HOME") ? [] : ["HOME=/root"])],
      cwd: "/",
      user: { uid: 0, gid: 0 },
    };
    await this.#agentOr(execId).createProcess({
      container: MACHINE,
      exec: execId,
      process: Buffer.from(JSON.stringify(process), "utf8"),
      terminal,
      stdin,
    });
    const guest = { guestContainer: MACHINE, guestExec: execId, terminal };
    await this.#pod.shim.attachGuest({ id, execId, ...guest });
  }

  async start({ id, execId }: ProcessRef): Promise<void> {
    await this.#agentOr(execId).startProcess(inGuest(execId));
    await this.#pod.shim.setProcess({ id, execId, status: Status.RUNNING });
  }

  async kill({ id, execId }: ProcessRef, signal: number): Promise<void> {
    try {
      await this.#agentOr(execId).signal(inGuest(execId), signal, false);
    } catch (cause) {
      const kind = kindOf(cause);
      if (kind === "wrongState") {
        throw new TrineError("notFound", `exec ${execId} has ended`, { cause });
      }
      if (signal !== SIGKILL || !SILENT.includes(kind)) throw cause;
      // Of a guest that hangs, or has no agent any more, nobody else would tell an end.
      const end = { status: Status.STOPPED, exitStatus: 128 + SIGKILL };
      await this.#pod.shim.setProcess({ id, execId, ...end });
    }
  }

  async resize({ execId, width, height }: ResizeProcess): Promise<void> {
    await this.#agent?.resize(inGuest(execId), { width, height });
  }

  /** As an `Onliner`. */
  async onlineResources(cpus: number): Promise<number | undefined> {
    if (!(await this.answers())) return undefined;
    try {
      return (await this.#agent?.onlineResources(cpus))?.cpus;
    } catch (cause) {
      this.#pod.log.debug({ err: messageOf(cause) }, "Trine's agent puts nothing into use");
      return undefined;
    }
  }

  /** Figures of the whole guest; undefined where no agent answers in time, or did not lately. */
  async stats(signal: AbortSignal): Promise<StatsResponse | undefined> {
    if (performance.now() < this.#silentUntil) return undefined;
    const until = AbortSignal.any([signal, this.#life, AbortSignal.timeout(FIGURES_MS)]);
    try {
      await this.#agent?.untilAnswers(until);
      return await this.#agent?.stats(MACHINE, until);
    } catch (cause) {
      signal.throwIfAborted();
      this.#silentUntil = performance.now() + SILENCE_MS;
      this.#pod.log.debug({ err: messageOf(cause) }, "Trine's agent says no figures");
      return undefined;
    }
  }

  /** The agent of a guest that is gone has forgotten it already. */
  async remove({ execId }: ProcessRef): Promise<void> {
    if (this.#life.aborted || !(await this.answers())) return;
    await this.#agentOr(execId).removeProcess(inGuest(execId));
  }

  #agentOr(execId: string): AgentClient {
    if (this.#agent !== undefined && !this.#life.aborted) return this.#agent;
    throw new TrineError("wrongState", `exec ${execId}: the machine is not running`);
  }
}

function inGuest(exec: string): { container: string; exec: string } {
  return { container: MACHINE, exec };
}
