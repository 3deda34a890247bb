import type { MessageInitShape } from "@bufbuild/protobuf";
import { TrineError } from "@trine/base";
import { Shim } from "@trine/proto/shim";
import type {
  AttachGuestRequestSchema,
  DescribeResponse,
  Event,
  MountRequestSchema,
  NestRequestSchema,
  ServeDhcp6RequestSchema,
  ServeDhcpRequestSchema,
  SetProcessRequestSchema,
  SpawnRequestSchema,
} from "@trine/proto/shim";
import { TtrpcClient } from "@trine/ttrpc";
import type { ServiceClient } from "@trine/ttrpc";

/** The protocol version this client speaks (shim.proto). The previous one is spoken as well, once there is one. */
export const SHIM_PROTOCOL = 1;

const CALL_TIMEOUT_MS = 10_000;
const EVENT_WAIT_MS = 30_000;

/** Result of a short program in the pod's network namespace. */
export interface RunResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One pod's shim, seen from the daemon. Every call may be repeated (shim.proto says how). */
export class ShimLink {
  readonly #client: TtrpcClient;
  readonly #shim: ServiceClient<typeof Shim>;
  readonly address: string;

  private constructor(client: TtrpcClient, address: string) {
    this.#client = client;
    this.#shim = client.service(Shim);
    this.address = address;
  }

  /** Connects to the shim's socket; kind `unavailable` when nobody answers there. */
  static async open(address: string, signal: AbortSignal): Promise<ShimLink> {
    return new ShimLink(await TtrpcClient.connect(address, { signal }), address);
  }

  /** Settles when the shim is gone: its pod is dead (containerd never reconnects to a shim). */
  get closed(): Promise<void> {
    return this.#client.closed;
  }

  close(): void {
    this.#client.close();
  }

  async describe(): Promise<DescribeResponse> {
    const answer = await this.#shim.describe({}, { timeoutMs: CALL_TIMEOUT_MS });
    if (answer.protocol > SHIM_PROTOCOL || answer.protocol < 1) {
      throw new TrineError(
        "unimplemented",
        `shim of pod ${answer.sandboxId} speaks protocol ${answer.protocol}, this daemon ${SHIM_PROTOCOL}: ` +
          "run the daemon of the shim's release until the pod is gone",
      );
    }
    return answer;
  }

  async putState(state: Uint8Array, revision: bigint): Promise<void> {
    await this.#shim.putState({ state, revision }, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** Events after `after`, in order, until `signal` aborts or the shim is gone. */
  async *events(after: bigint, signal: AbortSignal): AsyncGenerator<Event> {
    let last = after;
    while (!signal.aborted) {
      const answer = await this.#shim.events(
        { after: last, waitMs: EVENT_WAIT_MS },
        { signal, timeoutMs: EVENT_WAIT_MS + CALL_TIMEOUT_MS },
      );
      for (const event of answer.events) {
        last = event.seq;
        yield event;
      }
    }
  }

  async mount(request: MessageInitShape<typeof MountRequestSchema>): Promise<void> {
    await this.#shim.mount(request, { timeoutMs: CALL_TIMEOUT_MS });
  }

  async unmount(target: string): Promise<void> {
    await this.#shim.unmount({ target }, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** Runs a program in the pod's network namespace. A non-zero exit is an answer, not an error. */
  async run(argv: readonly string[], stdin = ""): Promise<RunResult> {
    const answer = await this.#shim.run(
      { argv: [...argv], stdin: new TextEncoder().encode(stdin), timeoutMs: CALL_TIMEOUT_MS },
      { timeoutMs: CALL_TIMEOUT_MS + 2_000 },
    );
    const text = new TextDecoder();
    return {
      exitCode: answer.exitCode,
      stdout: text.decode(answer.stdout),
      stderr: text.decode(answer.stderr),
    };
  }

  /** `how`: a macvtap is there already, by that name. */
  async openTap(
    name: string,
    mtu: number,
    how: { readonly queues?: number; readonly macvtap?: boolean } = {},
  ): Promise<void> {
    await this.#shim.openTap({ name, mtu, ...how }, { timeoutMs: CALL_TIMEOUT_MS });
  }

  async serveDhcp(request: MessageInitShape<typeof ServeDhcpRequestSchema>): Promise<void> {
    await this.#shim.serveDhcp(request, { timeoutMs: CALL_TIMEOUT_MS });
  }

  async serveDhcp6(request: MessageInitShape<typeof ServeDhcp6RequestSchema>): Promise<void> {
    await this.#shim.serveDhcp6(request, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** Starts (or finds) the localhost forwarder and answers its port. `to`: an address, or the guest itself. */
  async serveForward(
    to: { readonly target: string; readonly source: string } | { readonly throughGuest: true },
  ): Promise<number> {
    const answer = await this.#shim.serveForward(to, { timeoutMs: CALL_TIMEOUT_MS });
    return answer.port;
  }

  async spawn(
    request: MessageInitShape<typeof SpawnRequestSchema>,
  ): Promise<{ pid: number; already: boolean }> {
    const answer = await this.#shim.spawn(request, { timeoutMs: CALL_TIMEOUT_MS });
    return { pid: answer.pid, already: answer.already };
  }

  async signal(key: string, signal: number): Promise<void> {
    await this.#shim.signal({ key, signal }, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** Says where threads of a child may run; thread 0 stands for all that it has. */
  async pinThreads(
    key: string,
    threads: readonly { readonly id: number; readonly cpus: readonly number[] }[],
  ): Promise<void> {
    const pins = threads.map(({ id, cpus }) => ({ thread: id, cpus: [...cpus] }));
    await this.#shim.pinThreads({ key, pins }, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** Forgets an ended child; one that was never there is a success. */
  async reap(key: string): Promise<void> {
    try {
      await this.#shim.reap({ key }, { timeoutMs: CALL_TIMEOUT_MS });
    } catch (cause) {
      if (!(cause instanceof TrineError && cause.kind === "notFound")) throw cause;
    }
  }

  async readChannel(
    name: string,
    offset: bigint,
    options: { waitMs: number; keepBytes: number; signal: AbortSignal },
  ): Promise<{ offset: bigint; data: Uint8Array; closed: boolean }> {
    return this.#shim.readChannel(
      { name, offset, waitMs: options.waitMs, keepBytes: options.keepBytes },
      { signal: options.signal, timeoutMs: options.waitMs + CALL_TIMEOUT_MS },
    );
  }

  async writeChannel(name: string, offset: bigint, data: Uint8Array): Promise<bigint> {
    const answer = await this.#shim.writeChannel(
      { name, offset, data },
      { timeoutMs: CALL_TIMEOUT_MS },
    );
    return answer.offset;
  }

  async setProcess(request: MessageInitShape<typeof SetProcessRequestSchema>): Promise<void> {
    await this.#shim.setProcess(request, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** Makes a memory of this shim unchangeable, and says where other shims find it. */
  async sealMemory(name: string): Promise<{ path: string; inode: string }> {
    const { path, inode } = await this.#shim.sealMemory({ name }, { timeoutMs: CALL_TIMEOUT_MS });
    return { path, inode: String(inode) };
  }

  /** Ends a shim that has no pod, and all it holds. */
  async end(): Promise<void> {
    await this.#shim.end({}, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** Hands a task whose Create is being answered to a nested runc shim, which answers it. */
  async nest(request: MessageInitShape<typeof NestRequestSchema>): Promise<void> {
    await this.#shim.nest(request, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** Joins the stdio and the end of a task or an exec to a process in the guest. */
  async attachGuest(request: MessageInitShape<typeof AttachGuestRequestSchema>): Promise<void> {
    await this.#shim.attachGuest(request, { timeoutMs: CALL_TIMEOUT_MS });
  }

  /** Appends an exec's output at `offset`; answers the next offset wanted. */
  async writeStdio(
    to: { id: string; execId: string; stderr: boolean },
    offset: bigint,
    data: Uint8Array,
  ): Promise<bigint> {
    const answer = await this.#shim.writeStdio(
      { ...to, offset, data },
      { timeoutMs: CALL_TIMEOUT_MS },
    );
    return answer.offset;
  }
}
