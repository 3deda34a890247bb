import { createConnection, createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { rm } from "node:fs/promises";
import { TrineError } from "@trine/base";
import { Agent, ProcessState_State } from "@trine/proto/agent";
import type {
  CreateContainerRequest,
  MountRequest,
  ReviveRequest,
  UpdateRequest,
} from "@trine/proto/agent";
import { TtrpcServer } from "@trine/ttrpc";
import type { ServiceHandlers } from "@trine/ttrpc";

type Method = keyof ServiceHandlers<typeof Agent>;

interface FakeProcess {
  readonly container: string;
  readonly exec: string;
  state: ProcessState_State;
  pid: number;
}

const done = Promise.resolve({});

/**
 * Trine's agent in memory, behind the socket a shim makes for the guest link: a working model of
 * agent.proto for tests. Each client first names the stream it wants.
 */
export class FakeAgent {
  readonly path: string;
  /** Methods in the order they were called. */
  readonly calls: Method[] = [];
  readonly processes = new Map<string, FakeProcess>();
  readonly containers = new Map<string, CreateContainerRequest>();
  readonly paused = new Set<string>();
  readonly mounts = new Map<string, MountRequest>();
  readonly updates: UpdateRequest[] = [];
  /** Disks that something in the guest holds on to. */
  readonly busy = new Set<string>();
  readonly signals: { process: string; signal: number; all: boolean }[] = [];
  readonly sizes: { process: string; width: number; height: number }[] = [];
  revived: ReviveRequest | undefined;
  /** How many CPUs were to be in use, each time. */
  readonly wantedCpus: number[] = [];
  /** It puts those beyond out of use. */
  heedsCpus = true;
  /** CPUs that the guest has. */
  cpus: () => number = () => 1;
  /** What it says has been added to the guest's memory; undefined as one of an earlier release. */
  added: () => number | undefined = () => undefined;
  protocol = 1;
  version = "fake";
  readonly #failing = new Map<Method, Error>();
  readonly #sockets = new Set<Socket>();
  #rpc: TtrpcServer | undefined;
  #door: Server | undefined;
  #nextPid = 10;

  /** `path`: where the shim would make the guest link's socket. */
  constructor(path: string) {
    this.path = path;
  }

  async listen(): Promise<void> {
    this.#rpc = new TtrpcServer({ onError: () => undefined });
    this.#rpc.register(Agent, this.#handlers());
    await this.#rpc.listen(`${this.path}.rpc`);
    await rm(this.path, { force: true });
    const door = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => undefined); // the other end is gone
      socket.once("data", (first: Buffer) => {
        this.#serve(socket, first);
      });
    });
    this.#door = door;
    await new Promise<void>((resolve) => door.listen(this.path, resolve));
  }

  /** As a reset of the guest link: every stream ends, the guest goes on. */
  reset(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** As the end of the guest: nobody answers any more, and it forgets all. */
  async die(): Promise<void> {
    this.#door?.close();
    this.reset();
    await this.#rpc?.close();
    this.processes.clear();
    this.containers.clear();
  }

  /** The next call of `method` fails once. */
  failOnce(method: Method, error = new TrineError("unavailable", `injected into ${method}`)): void {
    this.#failing.set(method, error);
  }

  /** The name of the stream, a newline, then the stream. */
  #serve(socket: Socket, first: Buffer): void {
    const end = first.indexOf("\n");
    if (end < 0 || first.toString("utf8", 0, end) !== "rpc") {
      socket.destroy();
      return;
    }
    const rpc = createConnection(`${this.path}.rpc`);
    rpc.on("error", () => socket.destroy());
    rpc.on("close", () => socket.destroy());
    socket.on("close", () => rpc.destroy());
    rpc.write(first.subarray(end + 1));
    socket.pipe(rpc);
    rpc.pipe(socket);
  }

  #handlers(): ServiceHandlers<typeof Agent> {
    return Object.fromEntries(
      Object.entries(this.#model()).map(([name, handler]) => [
        name,
        async (...args: unknown[]) => {
          const method = name as Method;
          this.calls.push(method);
          const failure = this.#failing.get(method);
          this.#failing.delete(method);
          if (failure !== undefined) throw failure;
          if (method !== "describe" && method !== "revive" && this.revived === undefined) {
            throw new TrineError("wrongState", `${method} before revive`);
          }
          return (handler as (...all: unknown[]) => Promise<unknown>)(...args);
        },
      ]),
    );
  }

  #model(): ServiceHandlers<typeof Agent> {
    return {
      describe: () =>
        Promise.resolve({
          protocol: this.protocol,
          version: this.version,
          kernel: "fake",
          revived: this.revived !== undefined,
          pod: this.revived?.pod ?? "",
          processes: [...this.processes.values()].map((process) => ({ ...process })),
          containers: [...this.containers.keys()],
        }),
      revive: (request) => {
        if (this.revived !== undefined && this.revived.pod !== request.pod) {
          throw new TrineError("wrongState", `this guest is pod ${this.revived.pod}'s`);
        }
        this.revived = request;
        return done;
      },
      mount: (request) => {
        this.mounts.set(request.target, request);
        return done;
      },
      createContainer: (request) => {
        this.containers.set(request.container, request);
        this.#create(request.container, "");
        return done;
      },
      createProcess: ({ container, exec }) => {
        if (!this.containers.has(container)) throw new TrineError("notFound", container);
        this.#create(container, exec);
        return done;
      },
      startProcess: ({ container, exec }) => {
        const process = this.#process(container, exec);
        if (process.state === ProcessState_State.CREATED)
          process.state = ProcessState_State.RUNNING;
        return Promise.resolve({ pid: process.pid });
      },
      signal: ({ container, exec, signal, all }) => {
        const process = this.#process(container, exec);
        if (process.state === ProcessState_State.ENDED) {
          throw new TrineError("wrongState", `${container}/${exec} has ended`);
        }
        this.signals.push({ process: `${container}/${exec}`, signal, all });
        return done;
      },
      resize: ({ container, exec, width, height }) => {
        this.sizes.push({ process: `${container}/${exec}`, width, height });
        return done;
      },
      removeProcess: ({ container, exec }) => {
        this.#process(container, exec);
        this.processes.delete(`${container}/${exec}`);
        return done;
      },
      removeContainer: ({ container }) => {
        if (!this.containers.delete(container)) throw new TrineError("notFound", container);
        for (const [key, process] of this.processes) {
          if (process.container === container) this.processes.delete(key);
        }
        return Promise.resolve({ busy: [...this.busy] });
      },
      pause: ({ container }) => {
        this.paused.add(container);
        return done;
      },
      resume: ({ container }) => {
        this.paused.delete(container);
        return done;
      },
      update: (request) => {
        this.updates.push(request);
        return done;
      },
      onlineResources: ({ cpus }) => {
        this.wantedCpus.push(cpus);
        const added = this.added();
        const memory = added === undefined ? {} : { addedBytes: BigInt(added) };
        return Promise.resolve({
          cpus: this.heedsCpus ? Math.min(cpus, this.cpus()) : this.cpus(),
          ...memory,
        });
      },
      stats: () =>
        Promise.resolve({
          container: {
            pids: { current: 3n },
            cpu: { usageUsec: 1500n, userUsec: 1000n, systemUsec: 500n },
            memory: { usage: 4096n, anon: 2048n },
          },
        }),
    };
  }

  #create(container: string, exec: string): void {
    const key = `${container}/${exec}`;
    if (this.processes.has(key)) return;
    const pid = this.#nextPid++;
    this.processes.set(key, { container, exec, state: ProcessState_State.CREATED, pid });
  }

  #process(container: string, exec: string): FakeProcess {
    const process = this.processes.get(`${container}/${exec}`);
    if (process === undefined) throw new TrineError("notFound", `no process ${container}/${exec}`);
    return process;
  }
}
