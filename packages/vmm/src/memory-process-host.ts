import { stat } from "node:fs/promises";
import { TrineError } from "@trine/base";
import { ByteStream, StreamEnd } from "./byte-stream.ts";
import type { ByteChannel, ProcessHost, ProcessPlan } from "./process-host.ts";

/** How a child ended. `exitStatus` is what its task reports, by the plan's exit rules. */
export interface ChildEnd {
  readonly exitStatus: number;
  /** -1 when a signal ended it. */
  readonly exitCode: number;
  readonly signal: number;
  readonly reason: string;
}

/** What a child runs in memory: it is told of signals and ends by calling `exit`. */
export interface MemoryProgram {
  /** Signals other than KILL, which no program sees. */
  onSignal(signal: number): void;
  onExit(): void;
}

export interface MemoryProcess {
  readonly plan: ProcessPlan;
  /** The child's end of a channel it was given. */
  channel(name: string): ByteChannel;
  print(line: string): void;
  exit(code: number, reason?: string): void;
}

const SIGKILL = 9;

class Child implements MemoryProcess {
  readonly pid: number;
  readonly plan: ProcessPlan;
  readonly program: MemoryProgram;
  readonly ended: Promise<ChildEnd>;
  readonly #settle: (end: ChildEnd) => void;
  readonly #hostEnds = new Map<string, StreamEnd>();
  readonly #childEnds = new Map<string, StreamEnd>();
  end: ChildEnd | undefined;
  log = "";

  constructor(pid: number, plan: ProcessPlan, program: (process: MemoryProcess) => MemoryProgram) {
    this.pid = pid;
    this.plan = plan;
    const { promise, resolve } = Promise.withResolvers<ChildEnd>();
    this.ended = promise;
    this.#settle = resolve;
    for (const descriptor of plan.descriptors) {
      if (descriptor.kind !== "channel") continue;
      const [toChild, toHost] = [new ByteStream(), new ByteStream()];
      this.#hostEnds.set(descriptor.name, new StreamEnd(toHost, toChild));
      this.#childEnds.set(descriptor.name, new StreamEnd(toChild, toHost));
    }
    this.program = program(this);
  }

  channel(name: string): ByteChannel {
    return found(this.#childEnds.get(name), `channel ${name}`);
  }

  hostChannel(name: string): ByteChannel | undefined {
    return this.#hostEnds.get(name);
  }

  print(line: string): void {
    this.log = `${this.log}${line}\n`.slice(-4096);
  }

  exit(code: number, reason = ""): void {
    this.#finish(code, 0, reason);
  }

  kill(signal: number): void {
    if (signal === SIGKILL) this.#finish(-1, signal, "");
    else this.program.onSignal(signal);
  }

  #finish(exitCode: number, signal: number, reason: string): void {
    if (this.end !== undefined) return;
    const rule = this.plan.exitRules.find((r) => r.reason === reason);
    const plain = exitCode === -1 ? 128 + signal : exitCode;
    this.end = { exitStatus: rule?.exitStatus ?? plain, exitCode, signal, reason };
    for (const end of this.#childEnds.values()) end.close();
    this.program.onExit();
    this.#settle(this.end);
  }
}

/** A process host whose processes are objects: it keeps children and channels as a pod's shim does. */
export class MemoryProcessHost implements ProcessHost {
  readonly machineDir = "/memory/machine";
  readonly #children = new Map<string, Child>();
  readonly #program: (process: MemoryProcess) => MemoryProgram;
  #nextPid = 1000;

  constructor(program: (process: MemoryProcess) => MemoryProgram) {
    this.#program = program;
  }

  spawn(plan: ProcessPlan): Promise<{ pid: number; already: boolean }> {
    const old = this.#children.get(plan.key);
    if (old !== undefined) return Promise.resolve({ pid: old.pid, already: true });
    const child = new Child(this.#nextPid++, plan, this.#program);
    this.#children.set(plan.key, child);
    return Promise.resolve({ pid: child.pid, already: false });
  }

  signal(key: string, signal: number): Promise<void> {
    const child = this.#children.get(key);
    if (child === undefined || child.end !== undefined) {
      return Promise.reject(new TrineError("notFound", `no process ${key} runs`));
    }
    child.kill(signal);
    return Promise.resolve();
  }

  /** Threads of a child in memory run where they do. */
  pinThreads(): Promise<void> {
    return Promise.resolve();
  }

  channel(name: string): ByteChannel {
    const ends = [...this.#children.values()].map((child) => child.hostChannel(name));
    return found(
      ends.find((end) => end !== undefined),
      `channel ${name}`,
    );
  }

  /** One file stands for them all: what is in a memory is nothing to a program here. */
  async sealMemory(): Promise<{ path: string; inode: string }> {
    const path = "/dev/null";
    return { path, inode: String((await stat(path, { bigint: true })).ino) };
  }

  logTail(key: string): Promise<string> {
    return Promise.resolve(this.#children.get(key)?.log ?? "");
  }

  /** What a test or a driver of the same memory may see of a child. */
  program(key: string): { running: boolean; program: MemoryProgram } | undefined {
    const child = this.#children.get(key);
    return child && { running: child.end === undefined, program: child.program };
  }

  /** Resolves when the child has ended. */
  ended(key: string): Promise<ChildEnd> {
    return found(this.#children.get(key), `process ${key}`).ended;
  }

  get running(): number {
    return [...this.#children.values()].filter((child) => child.end === undefined).length;
  }

  /** Forgets a child that has ended. */
  reap(key: string): void {
    if (this.#children.get(key)?.end === undefined && this.#children.has(key)) {
      throw new TrineError("wrongState", `process ${key} still runs`);
    }
    this.#children.delete(key);
  }
}

function found<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new TrineError("notFound", `there is no ${what}`);
  return value;
}
