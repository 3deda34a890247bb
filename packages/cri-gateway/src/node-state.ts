// What all calls share: the back ends, what is known of each, and how one is asked.
import { fromBinary } from "@bufbuild/protobuf";
import { TrineError, kindOf, messageOf } from "@trine/base";
import { StatusResponseSchema } from "@trine/proto/cri/api";
import type { RuntimeFeatures, StatusResponse } from "@trine/proto/cri/api";
import type { Logger } from "pino";
import { BackEnd } from "./back-end.ts";
import { BackEndFailure, CODE } from "./grpc-status.ts";
import { LISTS, RUNTIME_SERVICE, listPath } from "./methods.ts";
import { LIST_MS, Registry } from "./registry.ts";
import type { Known, ObjectKind } from "./registry.ts";
import { defaultOf } from "./routing.ts";
import type { RoutingConfig } from "./routing.ts";
import type { ServerCall } from "./server-call.ts";
import { bytesField, itemsAt } from "./wire.ts";

const STATUS_PATH = `${RUNTIME_SERVICE}Status`;

export class NodeState {
  readonly routing: RoutingConfig;
  readonly registry = new Registry();
  readonly log: Logger;
  /** In the order of the configuration: the first is the default. */
  readonly backEnds: readonly BackEnd[];
  /** Handlers each back end reports in its Status. */
  readonly #handlers = new Map<string, readonly string[]>();
  /** Features of the runtime in the last Status of each, also of one that is away. */
  readonly #features = new Map<string, RuntimeFeatures>();
  /** Those that were left out of the last list. */
  readonly #absent = new Set<string>();
  readonly #learning = new Map<string, Promise<void>>();
  readonly #onRead: (backEnd: BackEnd) => Promise<void>;

  /** `onRead`: the lists of a back end that has come are read; nobody waits for it. */
  constructor(routing: RoutingConfig, log: Logger, onRead: (backEnd: BackEnd) => Promise<void>) {
    this.routing = routing;
    this.log = log;
    this.#onRead = onRead;
    this.backEnds = routing.backEnds.map(
      (at) =>
        new BackEnd(at, (backEnd) => {
          log.info({ backEnd: backEnd.name }, "back end is there");
          void this.rebuild(backEnd);
        }),
    );
  }

  get defaultBackEnd(): BackEnd {
    return this.backEnd(defaultOf(this.routing));
  }

  backEnd(name: string): BackEnd {
    const found = this.backEnds.find((each) => each.name === name);
    if (found === undefined) throw new TrineError("internal", `no back end ${name}`);
    return found;
  }

  /** The first back end that reports this handler. */
  reporting(handler: string): string | undefined {
    return this.backEnds.find(({ name }) => this.#handlers.get(name)?.includes(handler))?.name;
  }

  /** As its last Status had them; undefined where it had none, or there was no Status yet. */
  featuresOf(backEnd: string): RuntimeFeatures | undefined {
    return this.#features.get(backEnd);
  }

  learnStatus(backEnd: string, { runtimeHandlers, features }: StatusResponse): void {
    this.#handlers.set(
      backEnd,
      runtimeHandlers.map(({ name }) => name),
    );
    if (features === undefined) this.#features.delete(backEnd);
    else this.#features.set(backEnd, features);
  }

  /** Lists of a back end that has come, or come back; its failure is told by its own calls. One at a time. */
  rebuild(backEnd: BackEnd): Promise<void> {
    const running = this.#learning.get(backEnd.name);
    if (running !== undefined) return running;
    const { log } = this;
    const name = { backEnd: backEnd.name };
    const work = this.#rebuild(backEnd)
      .then(() => {
        this.#onRead(backEnd).catch((cause: unknown) => {
          log.warn({ ...name, err: messageOf(cause) }, "what a back end has was not looked at");
        });
      })
      .catch((cause: unknown) => {
        log.warn({ ...name, err: messageOf(cause) }, "back end was not read");
      })
      .finally(() => this.#learning.delete(backEnd.name));
    this.#learning.set(backEnd.name, work);
    return work;
  }

  /** Resolves when a back end's lists have been read, or cannot be. */
  async known(backEnd: BackEnd): Promise<void> {
    if (this.registry.list("sandbox", backEnd.name, Buffer.alloc(0)) === undefined) {
      await this.rebuild(backEnd);
    }
  }

  /** Resolves when the lists of back ends that have just come are read. */
  async settled(): Promise<void> {
    await Promise.all(this.#learning.values());
  }

  /**
   * The object of an id, or of the unique beginning of one: what is not known is looked for in all back ends. Undefined when no
   * back end has it; kind `unavailable` when one that may have it did not answer.
   */
  async locate(kind: ObjectKind, id: string, call: ServerCall): Promise<Known | undefined> {
    const known = this.registry.find(kind, id);
    if (known !== undefined || id === "") return known;
    const filter = bytesField(1, bytesField(1, id));
    const answers = await Promise.allSettled(
      this.backEnds.map((backEnd) => this.#look(backEnd, kind, filter, call)),
    );
    const found = this.registry.find(kind, id);
    if (found !== undefined) return found;
    for (const answer of answers) if (answer.status === "rejected") throw answer.reason;
    return undefined;
  }

  /** Why a back end was left out of a list; undefined: it has answered one. Logged when it changes from one to the other. */
  absence(backEnd: string, why: string | undefined): void {
    if ((why === undefined) !== this.#absent.has(backEnd)) return;
    if (why === undefined) {
      this.#absent.delete(backEnd);
      this.log.info({ backEnd }, "back end is in lists again");
    } else {
      this.#absent.add(backEnd);
      this.log.warn({ backEnd, why }, "back end is left out of lists: they show it as it last was");
    }
  }

  /** How long a back end may take for a list before it counts as away. */
  patienceMs(call?: ServerCall): number {
    const left = call?.leftMs;
    return left === undefined ? LIST_MS : Math.min(LIST_MS, left * 0.8);
  }

  /** One back end's answer to a list, within its time; a time-out of ours says that the back end is absent. */
  async ask(
    backEnd: BackEnd,
    path: string,
    message: Uint8Array,
    call?: ServerCall,
  ): Promise<Buffer> {
    const ms = this.patienceMs(call);
    const late = AbortSignal.timeout(Math.ceil(ms));
    const signal = call === undefined ? late : AbortSignal.any([late, call.signal]);
    const metadata = call === undefined ? {} : { metadata: call.metadata };
    try {
      return await backEnd.unary(path, message, { ...metadata, timeoutMs: ms, signal });
    } catch (cause) {
      if (call?.signal.aborted === true) throw cause;
      const isLate = late.aborted || kindOf(cause) === "timeout";
      const isDeadline = cause instanceof BackEndFailure && cause.code === CODE.deadlineExceeded;
      if (!isLate && !isDeadline) throw cause;
      throw BackEndFailure.absent(`back end ${backEnd.name}: no answer within ${Math.ceil(ms)} ms`);
    }
  }

  close(): void {
    for (const backEnd of this.backEnds) backEnd.close();
  }

  async #rebuild(backEnd: BackEnd): Promise<void> {
    for (const kind of ["sandbox", "container"] as const) {
      const token = this.registry.token();
      const answer = await this.ask(backEnd, listPath(LISTS[kind], "unary"), Buffer.alloc(0));
      this.registry.replace(kind, backEnd.name, answer, token);
    }
    const images = await this.ask(backEnd, listPath(LISTS.image, "unary"), Buffer.alloc(0));
    this.registry.setImages(backEnd.name, images);
    const status = await this.ask(backEnd, STATUS_PATH, Buffer.alloc(0));
    this.learnStatus(backEnd.name, fromBinary(StatusResponseSchema, status));
  }

  async #look(backEnd: BackEnd, kind: ObjectKind, filter: Buffer, call: ServerCall): Promise<void> {
    const token = this.registry.token();
    const answer = await this.ask(backEnd, listPath(LISTS[kind], "unary"), filter, call);
    for (const item of itemsAt(answer, 1)) {
      this.registry.learn(kind, backEnd.name, item, token);
    }
  }
}
