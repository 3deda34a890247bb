import type { MessageInitShape } from "@bufbuild/protobuf";
import { TrineError, abortError, kindOf, messageOf, printable, sleep } from "@trine/base";
import { Agent } from "@trine/proto/agent";
import type {
  CreateContainerRequestSchema,
  CreateProcessRequestSchema,
  DescribeResponse,
  GuestInfoResponse,
  MountRequestSchema,
  ReviveRequestSchema,
  SetNetworkRequestSchema,
  StatsResponse,
} from "@trine/proto/agent";
import { TtrpcClient } from "@trine/ttrpc";
import type { CallOptions, ServiceClient } from "@trine/ttrpc";
import type { RequestOptions } from "./agent-link.ts";
import type { Thawed } from "./guest-voice.ts";

/** The protocol version of agent.proto this client speaks. */
export const AGENT_PROTOCOL = 1;
/** Name of the stream on the guest link, and the line that asks the shim for it. */
const PREAMBLE = "rpc\n";
const CALL_MS = 10_000;
/** It mounts, and runs code for the first time: on a busy node with software emulation both take their time. */
const CREATE_MS = 60_000;
/** A clone's first work, when many start at once. The VMM's own end is noticed by whoever holds it. */
const REVIVE_MS = 60_000;
/** Ending what still runs of a container, and unmounting, may take longer than an answer from memory. */
const REMOVE_MS = 30_000;
/** One attempt while the guest boots: whoever accepts then may never answer. */
const KNOCK_MS = 2_000;
const RETRY_MS = { first: 10, longest: 250 };
const MAX_MESSAGE = 512;

type AgentService = ServiceClient<typeof Agent>;

/** A process in the guest; `exec` empty = the container's own. */
export interface GuestProcess {
  readonly container: string;
  readonly exec: string;
}

/**
 * Trine's agent in a guest, over the stream `rpc` of the pod's guest link. Every call may be repeated
 * (agent.proto), so one whose connection ends is made again on a new one until its deadline: a guest link
 * that was reset is not the caller's concern. What the agent says is hostile: its answers are bounded by
 * ttrpc, its error texts are cut and escaped here.
 */
export class AgentClient {
  readonly #socketPath: string;
  readonly #closed = new AbortController();
  #connection: Promise<TtrpcClient> | undefined;

  /** `socketPath` is the shim's: a client sends a stream's name and a newline, then its bytes. */
  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Waits for a guest that boots: until it answers or `signal` aborts, which gives the last failure. */
  async untilAnswers(signal: AbortSignal): Promise<DescribeResponse> {
    let last = "nothing has been tried";
    for (let waitMs = RETRY_MS.first; ; waitMs = Math.min(2 * waitMs, RETRY_MS.longest)) {
      try {
        const answer = await this.#once((agent, options) => agent.describe({}, options), {
          signal,
          timeoutMs: KNOCK_MS,
        });
        return checkedDescription(answer);
      } catch (cause) {
        if (kindOf(cause) === "unimplemented") throw cause;
        if (signal.aborted) throw abortError(`the guest's agent does not answer (${last})`, signal);
        last = messageOf(cause);
        this.#drop();
      }
      await sleep(waitMs, signal).catch(() => undefined); // the next attempt says so
    }
  }

  async describe(): Promise<DescribeResponse> {
    return checkedDescription(await this.#call((agent, options) => agent.describe({}, options)));
  }

  async revive(request: MessageInitShape<typeof ReviveRequestSchema>): Promise<void> {
    await this.#call((agent, options) => agent.revive(request, options), {
      timeoutMs: REVIVE_MS,
    });
  }

  /** Gives the guest's interfaces these addresses and routes in place of what they have. */
  async setNetwork(request: MessageInitShape<typeof SetNetworkRequestSchema>): Promise<void> {
    await this.#call((agent, options) => agent.setNetwork(request, options));
  }

  /**
   * Takes memory into use that was plugged in, and the first so many CPUs, no more; an agent of an earlier release takes
   * all there are. Answers how many CPUs run, and how much memory has been added since the agent began; undefined by one
   * of an earlier release, and in whole machines.
   */
  async onlineResources(cpus: number): Promise<{ cpus: number; addedBytes: number | undefined }> {
    const answer = await this.#call((agent, options) => agent.onlineResources({ cpus }, options));
    const { cpus: running, addedBytes } = answer;
    return { cpus: running, addedBytes: addedBytes === undefined ? undefined : Number(addedBytes) };
  }

  async mount(request: MessageInitShape<typeof MountRequestSchema>): Promise<void> {
    await this.#call((agent, options) => agent.mount(request, options));
  }

  async createContainer(
    request: MessageInitShape<typeof CreateContainerRequestSchema>,
  ): Promise<void> {
    await this.#call((agent, options) => agent.createContainer(request, options), {
      timeoutMs: CREATE_MS,
    });
  }

  async createProcess(request: MessageInitShape<typeof CreateProcessRequestSchema>): Promise<void> {
    await this.#call((agent, options) => agent.createProcess(request, options));
  }

  /** Answers the process id in the guest. */
  async startProcess(process: GuestProcess): Promise<number> {
    const { pid } = await this.#call((agent, options) =>
      agent.startProcess({ ...process }, options),
    );
    return pid;
  }

  async signal(process: GuestProcess, signal: number, all: boolean): Promise<void> {
    await this.#call((agent, options) => agent.signal({ ...process, signal, all }, options));
  }

  async resize(process: GuestProcess, size: { width: number; height: number }): Promise<void> {
    await this.#call((agent, options) => agent.resize({ ...process, ...size }, options));
  }

  /** One that is not there is a success. */
  async removeProcess(process: GuestProcess): Promise<void> {
    await unlessGone(this.#call((agent, options) => agent.removeProcess({ ...process }, options)));
  }

  /**
   * One that is not there is a success. Answers which of its disks something in the guest still holds: the
   * agent's answer is believed only for disks the caller has.
   */
  async removeContainer(container: string): Promise<readonly string[]> {
    const removing = this.#call((agent, options) => agent.removeContainer({ container }, options), {
      timeoutMs: REMOVE_MS,
    });
    const removed = await unlessGone(removing);
    return removed?.busy ?? [];
  }

  async pause(container: string): Promise<void> {
    await this.#call((agent, options) => agent.pause({ container }, options));
  }

  async resume(container: string): Promise<void> {
    await this.#call((agent, options) => agent.resume({ container }, options));
  }

  /** `resources`: OCI linux.resources as JSON. */
  async update(container: string, resources: Uint8Array): Promise<void> {
    await this.#call((agent, options) => agent.update({ container, resources }, options));
  }

  async stats(container: string, signal: AbortSignal): Promise<StatsResponse> {
    return this.#call((agent, options) => agent.stats({ container }, options), { signal });
  }

  /** Kind `unimplemented` of an agent that an earlier release has started. */
  guestInfo(options: RequestOptions = {}): Promise<GuestInfoResponse> {
    return this.#call((agent, of) => agent.guestInfo({}, of), options);
  }

  /** The guest thaws by itself after `forMs`. */
  async freeze(forMs: number, options: RequestOptions = {}): Promise<void> {
    const timeoutMs = Math.ceil(forMs);
    await this.#call((agent, of) => agent.freeze({ timeoutMs }, of), options);
  }

  /** One that is not frozen is a success. */
  async thaw(options: RequestOptions = {}): Promise<Thawed> {
    const { all, some } = await this.#call((agent, of) => agent.thaw({}, of), options);
    return all ? "all" : some ? "some" : "own";
  }

  /** Ends the connection; calls under way and later ones fail with kind `canceled`. */
  close(): void {
    this.#closed.abort();
    this.#drop();
  }

  /** Makes a call, and again while its connection ends under it, within one deadline for all of it. */
  async #call<T>(
    call: (agent: AgentService, options: CallOptions) => Promise<T>,
    given: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<T> {
    const end = performance.now() + (given.timeoutMs ?? CALL_MS);
    for (let waitMs = RETRY_MS.first; ; waitMs = Math.min(2 * waitMs, RETRY_MS.longest)) {
      const timeoutMs = Math.max(1, Math.ceil(end - performance.now()));
      try {
        return await this.#once(call, { ...given, timeoutMs });
      } catch (cause) {
        if (kindOf(cause) !== "unavailable" || performance.now() + waitMs >= end) throw cause;
        this.#drop();
      }
      await sleep(waitMs, this.#closed.signal);
    }
  }

  async #once<T>(
    call: (agent: AgentService, options: CallOptions) => Promise<T>,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<T> {
    const signal = AbortSignal.any([
      this.#closed.signal,
      ...(options.signal === undefined ? [] : [options.signal]),
    ]);
    try {
      const connection = await this.#connected(signal);
      return await call(connection.service(Agent), { ...options, signal });
    } catch (cause) {
      throw new TrineError(kindOf(cause), printable(messageOf(cause), MAX_MESSAGE), { cause });
    }
  }

  /** The connection all calls share; undefined again as soon as it has ended. */
  #connected(signal: AbortSignal): Promise<TtrpcClient> {
    signal.throwIfAborted();
    if (this.#connection !== undefined) return this.#connection;
    const connecting = TtrpcClient.connect(this.#socketPath, {
      preamble: PREAMBLE,
      signal: this.#closed.signal,
    });
    const forget = (): void => {
      if (this.#connection === connecting) this.#connection = undefined;
    };
    connecting.then(async (client) => {
      await client.closed;
      forget();
    }, forget);
    this.#connection = connecting;
    return connecting;
  }

  #drop(): void {
    const dropped = this.#connection;
    this.#connection = undefined;
    dropped?.then(
      (client) => {
        client.close();
      },
      () => undefined, // the caller that connected has the error
    );
  }
}

/** Refuses an agent of another protocol, and cuts what goes to logs. */
function checkedDescription(answer: DescribeResponse): DescribeResponse {
  if (answer.protocol !== AGENT_PROTOCOL) {
    throw new TrineError(
      "unimplemented",
      `the guest's agent speaks protocol ${answer.protocol}, this daemon ${AGENT_PROTOCOL}: ` +
        "build the guest image of this release (trine guest build)",
    );
  }
  answer.version = printable(answer.version, 64);
  answer.kernel = printable(answer.kernel, 128);
  return answer;
}

async function unlessGone<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (cause) {
    if (kindOf(cause) !== "notFound") throw cause;
    return undefined;
  }
}
