import { createConnection } from "node:net";
import type { Socket } from "node:net";
import { JsonLines, TrineError, abortable, kindOf, messageOf } from "@trine/base";
import * as v from "valibot";
import { RETURNS } from "./commands.ts";
import type { QmpCommandName, QmpCommands } from "./commands.ts";
import { EventFeed } from "./event-feed.ts";
import { answerSchema, eventSchema, fromQmpError, greetingSchema } from "./messages.ts";

export interface QmpEvent {
  /** QEMU's name, e.g. SHUTDOWN. */
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly at: Date;
}

const LIMITS = { maxLineBytes: 1 << 20, maxDepth: 64 };
const MAX_PENDING = 256;

type Answer = PromiseWithResolvers<unknown>;

/**
 * One QMP connection to a running QEMU. QEMU talks to one client at a time: a second one gets no greeting
 * until the first has left. State is QEMU's own, so a lost connection is replaced by a new one.
 */
export class QmpClient {
  readonly #socket: Socket;
  readonly #path: string;
  readonly #events = new EventFeed<QmpEvent>();
  readonly #pending = new Map<number, { command: string; answer: Answer }>();
  readonly #greeting = Promise.withResolvers<undefined>();
  #isGreeted = false;
  #nextId = 1;
  #failure: Error | undefined;
  /** Settles when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>;

  private constructor(socket: Socket, path: string) {
    this.#socket = socket;
    this.#path = path;
    const lines = new JsonLines(LIMITS);
    socket.on("data", (bytes: Buffer) => {
      for (const line of lines.push(bytes)) {
        if ("error" in line) this.#fail(line.error);
        else this.#onMessage(line.value);
        if (socket.destroyed) return;
      }
    });
    socket.on("error", (error) => {
      this.#failure ??= error;
    });
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.closed = promise;
    socket.once("close", () => {
      this.#onClosed();
      resolve(undefined);
    });
  }

  /**
   * Connects and leaves QMP's negotiation behind. Kind `unavailable` when nobody listens on `path`,
   * `malformed` when what answers is not QEMU; waits for the greeting until `signal` aborts.
   */
  static async connect(path: string, signal: AbortSignal): Promise<QmpClient> {
    const client = new QmpClient(createConnection(path), path);
    try {
      await abortable(`QMP greeting on ${path}`, signal, client.#greeting.promise);
      await client.execute("qmp_capabilities", {}, { signal });
      return client;
    } catch (cause) {
      client.close();
      throw cause;
    }
  }

  /**
   * Rejects with the kind of QEMU's error class, `unavailable` when the connection ends before the answer,
   * `malformed` when the answer is not what the schema says. Giving up does not undo the command.
   */
  async execute<K extends QmpCommandName>(
    command: K,
    args: QmpCommands[K]["arguments"],
    options: { readonly signal: AbortSignal },
  ): Promise<QmpCommands[K]["returns"]> {
    if (this.#socket.destroyed) throw this.#lost();
    if (this.#pending.size >= MAX_PENDING) {
      throw new TrineError("exhausted", `QMP ${command}: ${MAX_PENDING} commands are waiting`);
    }
    const id = this.#nextId;
    this.#nextId += 1;
    const answer: Answer = Promise.withResolvers();
    this.#pending.set(id, { command, answer });
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\r\n`);
    try {
      const value = await abortable(`QMP ${command}`, options.signal, answer.promise);
      return parseAs(RETURNS[command], value, `QMP ${command}`);
    } finally {
      this.#pending.delete(id);
    }
  }

  /** Calls `listener` with every event from now on; answers how to stop. It must not throw. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    return this.#events.listen(listener);
  }

  /** Events from this call on; ends when `signal` aborts or the connection ends. Kind `exhausted` when 1024 are unread. */
  events(signal: AbortSignal): AsyncIterable<QmpEvent> {
    return this.#events.iterate(signal);
  }

  /** Ends the connection; QEMU runs on. */
  close(): void {
    this.#socket.destroy();
  }

  #onMessage(message: unknown): void {
    try {
      if (!this.#isGreeted) this.#greet(message);
      else this.#onEventOrAnswer(message);
    } catch (cause) {
      this.#fail(TrineError.during(`QMP on ${this.#path}`, cause));
    }
  }

  #greet(message: unknown): void {
    parseAs(greetingSchema, message, "greeting");
    this.#isGreeted = true;
    this.#greeting.resolve(undefined);
  }

  #onEventOrAnswer(message: unknown): void {
    const result = v.safeParse(eventSchema, message);
    if (!result.success) {
      this.#onAnswer(message);
      return;
    }
    const event = result.output;
    const { seconds, microseconds } = event.timestamp;
    this.#events.emit({
      name: event.event,
      data: event.data,
      at: new Date(seconds * 1000 + microseconds / 1000),
    });
  }

  /** An answer to a command given up, or to none of ours, is for nobody. */
  #onAnswer(message: unknown): void {
    const answer = v.safeParse(answerSchema, message);
    if (!answer.success || typeof answer.output.id !== "number") return;
    const call = this.#pending.get(answer.output.id);
    if (call === undefined) return;
    if ("error" in answer.output) {
      call.answer.reject(fromQmpError(`QMP ${call.command}`, answer.output.error));
    } else {
      call.answer.resolve(answer.output.return);
    }
  }

  #fail(failure: Error): void {
    this.#failure ??= failure;
    this.#socket.destroy();
  }

  #onClosed(): void {
    const lost = this.#lost();
    this.#greeting.promise.catch(() => undefined); // nobody waits for it any more once greeted
    this.#greeting.reject(lost);
    for (const { answer } of this.#pending.values()) answer.reject(lost);
    this.#events.end();
  }

  #lost(): TrineError {
    const cause = this.#failure;
    const why = cause === undefined ? "" : `: ${messageOf(cause)}`;
    const kind = kindOf(cause) === "malformed" ? "malformed" : "unavailable";
    return new TrineError(kind, `QMP connection to ${this.#path} ended${why}`, { cause });
  }
}

function parseAs<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  what: string,
): v.InferOutput<S> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  throw new TrineError("malformed", `${what}: ${v.summarize(result.issues).slice(0, 300)}`);
}
