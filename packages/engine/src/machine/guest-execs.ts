import type { Logger } from "pino";
import { TrineError, kindOf, messageOf, sleep } from "@trine/base";
import { GuestAgent } from "@trine/guest-link";
import type { ExecStatus } from "@trine/guest-link";
import { Status } from "@trine/proto/task";
import type { ShimLink } from "@trine/shim-client";
import { GUEST_AGENT_CHANNEL } from "@trine/vmm";
import type { ProcessHost } from "@trine/vmm";
import type { ExecRecord } from "../pod-document.ts";
import type { AddExec, ProcessRef } from "../requests.ts";

const SIGKILL = 9;
const KILLED = 128 + SIGKILL;
const POLL_MS = { first: 20, longest: 500 };
const AGENT_MS = 10_000;
const STATUS_MS = 4_000;
const STATUS_ATTEMPTS = 15;
const OUTPUT_CHUNK = 64 * 1024;

/**
 * Execs in a guest that has only qemu-guest-agent (decision 14): no terminal, no stdin, output when the
 * command has ended. The guest keeps a command's result until it is read once, so a command started by
 * an earlier daemon is followed to its end by this one.
 */
export class GuestExecs {
  readonly #shim: ShimLink;
  readonly #log: Logger;
  readonly #records: Record<string, ExecRecord>;
  readonly #save: () => Promise<void>;
  #agent: GuestAgent | undefined;
  #life: AbortSignal = AbortSignal.abort();

  constructor(deps: {
    shim: ShimLink;
    log: Logger;
    records: Record<string, ExecRecord>;
    save: () => Promise<void>;
  }) {
    this.#shim = deps.shim;
    this.#log = deps.log;
    this.#records = deps.records;
    this.#save = deps.save;
  }

  /** Gives the channel of a machine that runs now; `life` aborts with the machine. */
  attach(host: ProcessHost, life: AbortSignal): void {
    this.#agent = new GuestAgent(host.channel(GUEST_AGENT_CHANNEL), { signal: life });
    this.#life = life;
  }

  /** Of the machine that runs now; undefined where it is off. */
  get agent(): GuestAgent | undefined {
    return this.#agent;
  }

  /** Registers an exec; refuses what the guest agent cannot do. */
  async add(exec: AddExec): Promise<void> {
    if (this.#agent === undefined) {
      throw new TrineError(
        "wrongState",
        `exec in container ${exec.id}: the guest agent is off (trine.dev/guest-agent: off)`,
      );
    }
    const wanted = exec.terminal ? "a terminal" : exec.stdin ? "standard input" : undefined;
    if (wanted !== undefined) {
      throw new TrineError(
        "unimplemented",
        `exec with ${wanted} is not possible through qemu-guest-agent: run without -i and -t, or use the console (kubectl attach -it)`,
      );
    }
    if (this.#records[exec.execId] !== undefined) return;
    this.#records[exec.execId] = { argv: exec.argv, env: exec.env, phase: "added" };
    try {
      await this.#save();
    } catch (cause) {
      // Too large for the shim, it would fail every later save of the pod too.
      // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- a document field by its id
      delete this.#records[exec.execId];
      throw cause;
    }
  }

  async start(process: ProcessRef): Promise<void> {
    const record = this.#record(process);
    if (record.phase !== "added" && record.phase !== "sent") return;
    const agent = this.#agentOr(process);
    record.phase = "sent";
    await this.#save();
    const [path, ...args] = record.argv;
    if (path === undefined) throw new TrineError("invalid", `exec ${process.execId}: no command`);
    const requestId = `exec-${process.execId}`;
    const { pid } =
      (await agent.pendingAnswer(requestId)) ??
      (await agent.exec(
        { path, args, env: [...record.env], captureOutput: true },
        { id: requestId, timeoutMs: AGENT_MS },
      ));
    record.guestPid = pid;
    record.phase = "running";
    await this.#save();
    await this.#shim.setProcess({ ...process, status: Status.RUNNING });
    this.#follow(process, pid);
  }

  /** As an `Onliner`. */
  async onlineResources(cpus: number): Promise<number | undefined> {
    try {
      return await this.#agent?.onlineResources(cpus, { timeoutMs: AGENT_MS });
    } catch (cause) {
      // Not there, or one that does not know how: such a guest does it by itself, or its size does not change.
      this.#log.debug({ err: messageOf(cause) }, "qemu-guest-agent puts nothing into use");
      return undefined;
    }
  }

  /** Follows the execs an earlier daemon started. */
  resume(taskId: string): void {
    for (const [execId, record] of Object.entries(this.#records)) {
      if (record.phase === "running" && record.guestPid !== undefined) {
        this.#follow({ id: taskId, execId }, record.guestPid);
      }
    }
  }

  async kill(process: ProcessRef, signal: number): Promise<void> {
    const record = this.#record(process);
    if (record.phase === "ended") {
      throw new TrineError("notFound", `exec ${process.execId} has ended`);
    }
    if (record.guestPid !== undefined) await this.#signalGuest(process, record.guestPid, signal);
    if (signal === SIGKILL) await this.#end(process, KILLED);
  }

  async remove(process: ProcessRef): Promise<void> {
    if (this.#records[process.execId] === undefined) return;
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- a document field by its id
    delete this.#records[process.execId];
    await this.#save();
  }

  /** The machine has ended: so has every exec in it. */
  async endAll(taskId: string): Promise<void> {
    this.#agent = undefined;
    for (const [execId, record] of Object.entries(this.#records)) {
      if (record.phase !== "ended") await this.#end({ id: taskId, execId }, KILLED);
    }
  }

  /** The machine's task is deleted: an exec containerd never deleted goes with it. */
  forgetAll(): void {
    for (const execId of Object.keys(this.#records)) {
      // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- a document field by its id
      delete this.#records[execId];
    }
  }

  #follow(process: ProcessRef, guestPid: number): void {
    void this.#untilExited(process, guestPid).catch(async (cause: unknown) => {
      if (this.#life.aborted) return; // endAll reports it
      this.#log.warn({ exec: process.execId, err: messageOf(cause) }, "exec lost");
      await this.#end(process, 255);
    });
  }

  async #untilExited(process: ProcessRef, guestPid: number): Promise<void> {
    for (let waitMs = POLL_MS.first; ; waitMs = Math.min(waitMs * 1.5, POLL_MS.longest)) {
      const agent = this.#agentOr(process);
      const status = await this.#statusOf(agent, guestPid);
      if (this.#records[process.execId]?.phase !== "running") return; // killed or removed meanwhile
      if (status.exited) {
        await this.#output(process, false, status.stdout);
        await this.#output(process, true, status.stderr);
        await this.#end(process, exitStatusOf(status));
        return;
      }
      await sleep(waitMs, this.#life);
    }
  }

  /** The guest keeps a result until it has told it: an answer that is late is asked for again. */
  async #statusOf(agent: GuestAgent, guestPid: number): Promise<ExecStatus> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await agent.execStatus(guestPid, { timeoutMs: STATUS_MS });
      } catch (cause) {
        const late = ["unavailable", "timeout"].includes(kindOf(cause));
        if (!late || attempt === STATUS_ATTEMPTS || this.#life.aborted) throw cause;
        this.#log.warn({ attempt, err: messageOf(cause) }, "the guest agent is late");
      }
    }
  }

  async #output(process: ProcessRef, stderr: boolean, bytes: Uint8Array): Promise<void> {
    const to = { ...process, stderr };
    let offset = 0n;
    while (offset < bytes.length) {
      const from = Number(offset);
      offset = await this.#shim.writeStdio(to, offset, bytes.subarray(from, from + OUTPUT_CHUNK));
    }
  }

  async #end(process: ProcessRef, exitStatus: number): Promise<void> {
    const record = this.#records[process.execId];
    if (record === undefined || record.phase === "ended") return;
    const before = record.phase;
    record.phase = "ended";
    try {
      await this.#shim.setProcess({ ...process, status: Status.STOPPED, exitStatus });
    } catch (cause) {
      // An exec the shim no longer has is nobody's: it must not hold up the end of its machine.
      if (kindOf(cause) !== "notFound") {
        record.phase = before; // nobody has been told: the repeat tells
        throw cause;
      }
    }
    await this.#save();
  }

  /** qemu-guest-agent has no call to signal a process: the guest's own kill does it. */
  async #signalGuest(process: ProcessRef, guestPid: number, signal: number): Promise<void> {
    const agent = this.#agentOr(process);
    await agent.exec(
      { path: "/bin/kill", args: [`-${signal}`, String(guestPid)], env: [], captureOutput: false },
      { timeoutMs: AGENT_MS },
    );
  }

  #record(process: ProcessRef): ExecRecord {
    const record = this.#records[process.execId];
    if (record === undefined) {
      throw new TrineError("notFound", `no exec ${process.execId} in container ${process.id}`);
    }
    return record;
  }

  #agentOr(process: ProcessRef): GuestAgent {
    if (this.#agent !== undefined) return this.#agent;
    throw new TrineError("wrongState", `exec ${process.execId}: the machine is not running`);
  }
}

function exitStatusOf(status: ExecStatus): number {
  return status.signal === undefined ? (status.exitCode ?? 255) : 128 + status.signal;
}
