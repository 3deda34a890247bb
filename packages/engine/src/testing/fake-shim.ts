import { mkdir, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { TrineError } from "@trine/base";
import { Shim } from "@trine/proto/shim";
import type {
  AttachGuestRequest,
  ChildSchema,
  EventSchema,
  MountRequest,
  NestRequest,
  SpawnRequest,
} from "@trine/proto/shim";
import type { Status } from "@trine/proto/task";
import { TtrpcServer } from "@trine/ttrpc";
import type { ServiceHandlers } from "@trine/ttrpc";

type Child = MessageInitShape<typeof ChildSchema> & { key: string; running: boolean };
type Method = keyof ServiceHandlers<typeof Shim>;

const MAX_STATE_BYTES = 1024 * 1024;

/** A pod's shim in memory, behind a real socket: a working model of shim.proto for the engine's tests. */
export class FakeShim {
  readonly address: string;
  readonly children = new Map<string, Child>();
  readonly mounted = new Set<string>();
  /** Execs and tasks joined to processes of a guest. */
  readonly attached: AttachGuestRequest[] = [];
  /** Tasks handed to the nested shim. */
  readonly nested: NestRequest[] = [];
  /** Children as they were asked for. */
  readonly spawned: SpawnRequest[] = [];
  /** As SetProcess left them, by task and exec. */
  readonly statuses = new Map<string, { status: Status; exitStatus: number }>();
  /** Tasks containerd knows of. */
  readonly tasks = new Set<string>(["c1"]);
  /** Methods in the order they were called. */
  readonly calls: Method[] = [];
  runtime = "containerd-shim-trine-vm-v2";
  cgroups: string[] = [];
  features: string[] = ["read-only-below", "tap-queues", "macvtap", "guest-ports"];
  /** Of a pod with one interface; empty = none. */
  netns = "";
  /** Programs that were run in it. */
  readonly programs: string[] = [];
  state: Uint8Array = new Uint8Array();
  revision = 0n;
  readonly #failing = new Map<Method, TrineError>();
  readonly #events: MessageInitShape<typeof EventSchema>[] = [];
  #acknowledged = 0;
  readonly pod: { sandboxId: string; bundle: string; podDir: string };
  #server: TtrpcServer | undefined;
  #wake = Promise.withResolvers<undefined>();
  #nextPid = 1000;

  constructor(pod: { sandboxId: string; bundle: string; podDir: string }) {
    this.pod = pod;
    this.address = join(pod.podDir, "shim.sock");
  }

  async listen(): Promise<void> {
    await mkdir(this.pod.podDir, { recursive: true });
    this.#server = new TtrpcServer({ onError: () => undefined });
    this.#server.register(Shim, this.#handlers());
    await this.#server.listen(this.address);
  }

  /** As kill -9 of the shim: every connection ends. */
  async die(): Promise<void> {
    await this.#server?.close();
  }

  /** The next call of `method` fails once. */
  failOnce(method: Method, error = new TrineError("unavailable", `injected into ${method}`)): void {
    this.#failing.set(method, error);
  }

  /** The daemon has made use of every event there has been. */
  get isHeard(): boolean {
    return this.#acknowledged === this.#events.length;
  }

  /** Ends a child as its process would. */
  end(key: string, how: { exitStatus: number; signal?: number; reason?: string }): void {
    const child = this.children.get(key);
    if (child?.running !== true) throw new Error(`no child ${key} runs`);
    Object.assign(child, how, { running: false });
    this.tell({ case: "childExited", value: { ...child } });
  }

  /** Something happened that trined is to hear. */
  tell(what: NonNullable<MessageInitShape<typeof EventSchema>["what"]>): void {
    this.#events.push({ seq: BigInt(this.#events.length + 1), what });
    this.#wake.resolve(undefined);
    this.#wake = Promise.withResolvers<undefined>();
  }

  #handlers(): ServiceHandlers<typeof Shim> {
    return Object.fromEntries(
      Object.entries(this.#model()).map(([name, handler]) => [
        name,
        async (...args: Parameters<typeof handler>) => {
          const method = name as Method;
          this.calls.push(method);
          const failure = this.#failing.get(method);
          this.#failing.delete(method);
          if (failure !== undefined) throw failure;
          return (handler as (...all: unknown[]) => Promise<unknown>)(...args);
        },
      ]),
    );
  }

  #model(): ServiceHandlers<typeof Shim> {
    const done = Promise.resolve({});
    return {
      describe: () =>
        Promise.resolve({
          protocol: 1,
          version: "fake",
          runtime: this.runtime,
          namespace: "k8s.io",
          ...this.pod,
          pid: process.pid,
          state: this.state,
          stateRevision: this.revision,
          processes: [...this.tasks].map((id) => ({ id, ...this.statuses.get(`${id}/`) })),
          children: [...this.children.values()],
          cgroups: this.cgroups,
          features: this.features,
          netns: this.netns,
        }),
      putState: (request) => {
        if (request.revision < this.revision) {
          throw new TrineError("conflict", `revision ${request.revision} is old`);
        }
        if (request.state.length > MAX_STATE_BYTES) {
          throw new TrineError("exhausted", `a document of ${request.state.length} bytes`);
        }
        this.state = request.state;
        this.revision = request.revision;
        return done;
      },
      events: async (request, { signal }) => {
        this.#acknowledged = Number(request.after);
        const after = (): MessageInitShape<typeof EventSchema>[] =>
          this.#events.filter((event) => (event.seq ?? 0n) > request.after);
        if (after().length === 0) {
          const gone = new Promise((resolve) => {
            signal.addEventListener("abort", resolve, { once: true });
          });
          await Promise.race([this.#wake.promise, gone]);
        }
        return { events: after() };
      },
      mount: async (request) => {
        await makeTarget(request);
        this.mounted.add(request.target);
        return {};
      },
      unmount: (request) => {
        this.mounted.delete(request.target);
        return done;
      },
      spawn: async (request) => {
        if (!this.children.has(request.key)) await makeSockets(request);
        return this.#spawn(request);
      },
      signal: (request) => {
        const child = this.children.get(request.key);
        if (child?.running !== true) throw new TrineError("notFound", `no child ${request.key}`);
        if (request.signal === 9) this.end(request.key, { exitStatus: 137, signal: 9 });
        return done;
      },
      reap: (request) => {
        const child = this.children.get(request.key);
        if (child === undefined) throw new TrineError("notFound", `no child ${request.key}`);
        if (child.running) throw new TrineError("wrongState", `child ${request.key} runs`);
        this.children.delete(request.key);
        return done;
      },
      setProcess: ({ id, execId, status, exitStatus }) => {
        this.statuses.set(`${id}/${execId}`, { status, exitStatus });
        return done;
      },
      openTap: () => done,
      serveForward: () => Promise.resolve({ port: 4000 }),
      run: ({ argv: [program = "", ...options] }) => {
        this.programs.push(program);
        const stdout = options.includes("-j") ? POD_NETWORK : "";
        return Promise.resolve({ exitCode: 0, stdout: new TextEncoder().encode(stdout) });
      },
      nest: (request) => {
        this.nested.push(request);
        return done;
      },
      attachGuest: (request) => {
        this.attached.push(request);
        return done;
      },
    };
  }

  #spawn(request: SpawnRequest): { pid: number; already: boolean } {
    this.spawned.push(request);
    const old = this.children.get(request.key);
    if (old !== undefined) return { pid: old.pid ?? 0, already: true };
    const pid = this.#nextPid++;
    const { key, taskId } = request;
    this.children.set(key, { key, pid, running: true, taskId });
    return { pid, already: false };
  }
}

/** What `ip -j` says of the interface that CNI has made, and of its routes. */
const POD_NETWORK = [
  [
    {
      ifname: "eth0",
      link_type: "ether",
      address: "02:00:00:00:00:01",
      mtu: 1500,
      addr_info: [{ family: "inet", local: "10.1.0.2", prefixlen: 16, scope: "global" }],
    },
  ],
  [{ dst: "default", gateway: "10.1.0.1", dev: "eth0" }],
]
  .map((each) => `${JSON.stringify(each)}\n`)
  .join("");

/** Below the pod's directory a missing target is made, as what is bound there is. */
async function makeTarget({ target, bind, device }: MountRequest): Promise<void> {
  if (device !== undefined || (bind !== undefined && (await stat(bind.source)).isFile())) {
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, "");
  } else {
    await mkdir(target, { recursive: true });
  }
}

/** A listening socket's name is there from the start of its child. */
async function makeSockets({ descriptors }: SpawnRequest): Promise<void> {
  for (const { source } of descriptors) {
    if (source.case !== "listen") continue;
    await mkdir(dirname(source.value.path), { recursive: true });
    await writeFile(source.value.path, "");
  }
}
