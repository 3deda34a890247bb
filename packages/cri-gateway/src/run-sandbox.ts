import { TrineError, abortable, sleep } from "@trine/base";
import type { BackEnd, Metadata } from "./back-end.ts";
import { BackEndFailure } from "./grpc-status.ts";
import { joinWork } from "./join-work.ts";
import { LISTS, RUNTIME_SERVICE, listPath } from "./methods.ts";
import type { How } from "./methods.ts";
import type { NodeState } from "./node-state.ts";
import { SANDBOX_READY, metadataKey, sandboxRecord } from "./registry.ts";
import type { Known } from "./registry.ts";
import type { Routes } from "./routes.ts";
import type { Choice } from "./routing.ts";
import type { ServerCall } from "./server-call.ts";
import { bytesField, messageAt, numberAt, stringAt } from "./wire.ts";

type Run = Extract<How, { how: "run" }>;

/** No sandbox takes this long: a back end that hangs holds its name no longer. */
const LONGEST_MS = 15 * 60_000;
const LOOK_EVERY_MS = 500;
/**
 * What containerd and CRI-O say while an earlier request of the same name is under way. They give it no code of its own, so it
 * is read from their words.
 */
const RESERVED = /\bname\b.*\bis reserved\b/i;
const STATUS_PATH = `${RUNTIME_SERVICE}PodSandboxStatus`;

interface Job {
  readonly path: string;
  readonly message: Buffer;
  readonly metadata: Metadata;
  readonly config: Buffer;
  readonly key: string;
  readonly handler: string;
  readonly backEnd: BackEnd;
}

/** Makes sandboxes: where the rules say, and each only once however often it is asked for. */
export class SandboxRunner {
  readonly #node: NodeState;
  readonly #routes: Routes;
  readonly #running = new Map<string, Promise<Buffer>>();
  readonly #closing = new AbortController();

  constructor(node: NodeState, routes: Routes) {
    this.#node = node;
    this.#routes = routes;
  }

  /** A client that leaves or whose time is up does not stop the work: its next request joins it. */
  async run(call: ServerCall, how: Run): Promise<void> {
    await this.#node.settled();
    const config = messageAt(call.message, how.config);
    const handler = stringAt(call.message, how.handler);
    const choice = this.#routes.choose({ config, handler });
    call.backEnd = choice.backEnd;
    await this.#node.known(this.#node.backEnd(choice.backEnd));
    const job: Job = {
      path: call.path,
      message: routed(call.message, how, choice),
      metadata: call.metadata,
      config,
      key: metadataKey(messageAt(config, 1)),
      handler: choice.handler ?? handler,
      backEnd: this.#node.backEnd(choice.backEnd),
    };
    this.#node.log.debug({ pod: job.key, backEnd: choice.backEnd, why: choice.why }, "sandbox");
    call.reply(await abortable(call.path, call.signal, this.#join(job, how)));
  }

  close(): void {
    this.#closing.abort(new TrineError("unavailable", "the gateway is stopping"));
  }

  #join(job: Job, how: Run): Promise<Buffer> {
    if (!how.joins || stringAt(job.config, 1, 1) === "") return this.#make(job);
    return joinWork(this.#running, job.key, () => this.#once(job));
  }

  async #once(job: Job): Promise<Buffer> {
    const end = performance.now() + LONGEST_MS;
    for (;;) {
      const there = await this.#ready(job);
      if (there !== undefined) return bytesField(1, there);
      try {
        return await this.#make(job);
      } catch (cause) {
        const isReserved = cause instanceof BackEndFailure && RESERVED.test(cause.message);
        if (!isReserved || performance.now() > end) throw cause;
        // An earlier gateway's request: it ends in a sandbox, which is the answer, or its name is free again.
        await sleep(LOOK_EVERY_MS, this.#closing.signal);
        await this.#look(job.backEnd);
        if (this.#hasEnded(job)) throw cause;
      }
    }
  }

  /** The name is that of a sandbox which runs no more: it stays taken until kubelet removes it. */
  #hasEnded({ key, backEnd }: Job): boolean {
    const all = this.#node.registry.sandboxesOf(key);
    const known = all.filter((each) => each.backEnd === backEnd.name);
    return known.length > 0 && known.every(({ record }) => numberAt(record, 3) !== SANDBOX_READY);
  }

  /** The id of a sandbox with the same metadata that runs: of an earlier request. */
  async #ready(job: Job): Promise<string | undefined> {
    for (const known of this.#node.registry.sandboxesOf(job.key)) {
      if (numberAt(known.record, 3) === SANDBOX_READY && (await this.#isReady(known)))
        return known.id;
    }
    return undefined;
  }

  async #isReady(known: Known): Promise<boolean> {
    try {
      const request = bytesField(1, known.id);
      const answer = await this.#node.ask(this.#node.backEnd(known.backEnd), STATUS_PATH, request);
      return numberAt(answer, 1, 3) === SANDBOX_READY;
    } catch (cause) {
      // Whether it still runs decides whether there will be two of it.
      if (cause instanceof BackEndFailure && !cause.isAbsent) return false;
      throw cause;
    }
  }

  async #make(job: Job): Promise<Buffer> {
    const { backEnd, metadata } = job;
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(LONGEST_MS)]);
    const answer = await backEnd.unary(job.path, job.message, { metadata, signal });
    const id = stringAt(answer, 1);
    const record = sandboxRecord(id, job.config, job.handler);
    this.#node.registry.learn("sandbox", backEnd.name, record);
    return answer;
  }

  async #look(backEnd: BackEnd): Promise<void> {
    const { registry } = this.#node;
    const token = registry.token();
    const path = listPath(LISTS.sandbox, "unary");
    const answer = await this.#node.ask(backEnd, path, Buffer.alloc(0));
    registry.replace("sandbox", backEnd.name, answer, token);
  }
}

/** The request with the handler we have chosen: appended, the last one holds. */
function routed(message: Buffer, how: Run, choice: Choice): Buffer {
  const overrides = Object.entries(choice.overrides).map(([key, value]) =>
    bytesField(
      how.config,
      bytesField(7, Buffer.concat([bytesField(1, key), bytesField(2, value)])),
    ),
  );
  const handler = choice.handler === undefined ? [] : [bytesField(how.handler, choice.handler)];
  return overrides.length + handler.length === 0
    ? message
    : Buffer.concat([message, ...overrides, ...handler]);
}
