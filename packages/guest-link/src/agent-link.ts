import { randomUUID } from "node:crypto";
import { JsonLines, SerialQueue, TrineError, abortError, abortable, messageOf } from "@trine/base";
import { fromQmpError } from "@trine/qmp";
import type { ByteChannel } from "@trine/vmm";
import * as v from "valibot";
import { Strays } from "./strays.ts";
import type { Answer } from "./strays.ts";
import { SyncState } from "./sync-state.ts";

export interface RequestOptions {
  /**
   * Names the request across daemons: when an answer to it has come already, that is given and nothing is
   * sent. Default: a new one.
   */
  readonly id?: string;
  /** Kind `unavailable` after that long. Default 10 s. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

const DEFAULT_TIMEOUT_MS = 10_000;
/** A sync may get lost with the agent's restart: while somebody waits it is sent again that often. */
const SYNC_AGAIN_MS = 1_000;
/** Discards whatever half request is before it in the agent's parser, and marks sync answers in ours. */
const RESET = 0xff;
/** guest-exec-status carries 16 MiB of stdout and of stderr, in base64. */
const LIMITS = { maxLineBytes: 48 << 20, maxDepth: 16, resetByte: RESET };

const messageSchema = v.union([
  v.object({ id: v.optional(v.string()), return: v.unknown() }),
  v.object({ id: v.string(), error: v.object({ class: v.string(), desc: v.string() }) }),
]);

interface Request {
  readonly command: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly id: string;
}

/**
 * Requests and answers over the agent's byte channel. The agent may be absent, restart, or be hostile, and
 * its channel outlives us: what an earlier daemon asked may be answered to us.
 */
export class AgentLink {
  readonly #channel: ByteChannel;
  readonly #session = randomUUID();
  readonly #pending = new Map<string, { command: string; resolve: (answer: Answer) => void }>();
  readonly #strays = new Strays();
  readonly #sync = new SyncState();
  readonly #writes = new SerialQueue();
  readonly #end = new AbortController();
  #isSyncQueued = false;
  #hasEverSynced = false;
  /** A line could not be read before the first sync: it may be the rest of one an earlier daemon began. */
  #hasLost = false;
  #nextId = 1;

  constructor(channel: ByteChannel, life: AbortSignal) {
    this.#channel = channel;
    void this.#readAll(life);
  }

  /** Rejects with the agent's refusal, or kind `unavailable` when it does not answer in time. */
  async request(
    command: string,
    args: Readonly<Record<string, unknown>>,
    options: RequestOptions = {},
  ): Promise<unknown> {
    const id = options.id ?? this.#newId();
    return this.#within(command, options, async (signal, sent) => {
      await this.#untilSynced(signal);
      const earlier = this.#strays.take(id);
      const answer =
        earlier ??
        (await this.#exchange({ command, args, id }, signal, sent).catch((cause: unknown) => {
          this.#sync.doubt();
          throw cause;
        }));
      return valueOf(answer);
    });
  }

  /**
   * The answer to a request sent earlier, by this daemon or one before it; undefined when it was not
   * carried out and never will be. Kind `unavailable` when that cannot be known.
   */
  async earlier(id: string, options: RequestOptions = {}): Promise<Answer | undefined> {
    return this.#within("guest-sync-delimited", options, async (signal) => {
      this.#sync.doubt();
      await this.#untilSynced(signal);
      const answer = this.#strays.take(id);
      if (answer === undefined && this.#hasLost) {
        throw new TrineError(
          "unavailable",
          `part of the guest agent's answers is lost: whether request ${id} was carried out is not known`,
        );
      }
      return answer;
    });
  }

  /**
   * Sends a command that answers only when refused, and resolves once the agent answers the next request
   * or is gone. A silent agent is taken for one that is busy obeying.
   */
  async order(
    command: string,
    args: Readonly<Record<string, unknown>>,
    options: RequestOptions = {},
  ): Promise<void> {
    const id = this.#newId();
    await this.#within(command, options, async (signal, sent) => {
      await this.#untilSynced(signal);
      const refusal = this.#exchange({ command, args, id }, signal, sent);
      refusal.catch(() => undefined); // the race below may be over before
      this.#sync.doubt();
      const first = await Promise.race([refusal, this.#untilSynced(signal)]).catch(
        (cause: unknown) => {
          if (!sent.isSent || options.signal?.aborted === true) throw cause;
        },
      );
      if (first !== undefined) valueOf(first);
    });
  }

  /** Resolves when the agent has answered a sync sent after this call. */
  async sync(options: RequestOptions = {}): Promise<void> {
    await this.#within("guest-sync-delimited", options, async (signal) => {
      this.#sync.doubt();
      await this.#untilSynced(signal);
    });
  }

  forget(id: string): void {
    this.#strays.take(id);
  }

  async #within<T>(
    command: string,
    options: RequestOptions,
    work: (signal: AbortSignal, sent: { isSent: boolean }) => Promise<T>,
  ): Promise<T> {
    const ms = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const late = AbortSignal.timeout(ms);
    const given = options.signal === undefined ? [] : [options.signal];
    const sent = { isSent: false };
    try {
      return await work(AbortSignal.any([this.#end.signal, ...given, late]), sent);
    } catch (cause) {
      if (this.#end.signal.aborted) throw this.#end.signal.reason;
      if (options.signal?.aborted === true) throw abortError(command, options.signal);
      if (late.aborted) throw unanswered(command, ms, sent.isSent);
      throw cause;
    }
  }

  async #untilSynced(signal: AbortSignal): Promise<void> {
    while (!this.#sync.isSynced) {
      this.#queueSync();
      const again = AbortSignal.timeout(SYNC_AGAIN_MS);
      const either = AbortSignal.any([signal, again]);
      await abortable("sync", either, this.#sync.answered).catch((cause: unknown) => {
        if (signal.aborted || !again.aborted) throw cause;
      });
    }
  }

  /** At most one sync waits to be written: an agent that does not read must not be buried in them. */
  #queueSync(): void {
    if (this.#isSyncQueued) return;
    this.#isSyncQueued = true;
    const write = this.#writes.run(() => {
      const number = this.#sync.next();
      const id = `${this.#session}-sync`;
      const args = { id: number };
      return this.#channel.write(encode({ command: "guest-sync-delimited", args, id }, RESET));
    });
    // A failed write is a sync unanswered: its waiters send another or run into their deadline.
    void write
      .catch(() => undefined)
      .finally(() => {
        this.#isSyncQueued = false;
      });
  }

  async #exchange(
    request: Request,
    signal: AbortSignal,
    sent: { isSent: boolean },
  ): Promise<Answer> {
    const { id, command } = request;
    if (this.#pending.has(id)) {
      throw new TrineError("conflict", `guest agent: request ${id} is being made already`);
    }
    const answer = Promise.withResolvers<Answer>();
    this.#pending.set(id, { command, resolve: answer.resolve });
    try {
      const write = this.#writes.run(() => {
        // Given up while it waited its turn: must not be carried out later.
        if (signal.aborted) return Promise.resolve();
        sent.isSent = true;
        return this.#channel.write(encode(request));
      });
      await abortable(command, signal, write);
      return await abortable(command, signal, answer.promise);
    } finally {
      this.#pending.delete(id);
    }
  }

  async #readAll(life: AbortSignal): Promise<void> {
    const lines = new JsonLines(LIMITS);
    try {
      for (;;) {
        const bytes = await this.#channel.read(life);
        if (bytes === undefined) break;
        for (const line of lines.push(bytes)) {
          if ("value" in line) this.#onMessage(line.value, line.bytes);
          else this.#hasLost ||= !this.#hasEverSynced;
        }
      }
      this.#end.abort(new TrineError("unavailable", "the guest agent's channel has ended"));
    } catch (cause) {
      const text = `the guest agent's channel has ended: ${messageOf(cause)}`;
      this.#end.abort(new TrineError("unavailable", text, { cause }));
    }
  }

  /** Messages of another form are noise: complaints about our reset byte, or a hostile guest. */
  #onMessage(message: unknown, bytes: number): void {
    const result = v.safeParse(messageSchema, message);
    if (!result.success) return;
    const { output } = result;
    if (output.id === undefined) this.#onAnonymous(output);
    else if (output.id === `${this.#session}-sync`) this.#onSync(output);
    else this.#onAnswer(output.id, output, bytes);
  }

  #onSync(message: v.InferOutput<typeof messageSchema>): void {
    if ("error" in message) {
      this.#sync.refuse(fromQmpError("guest agent: guest-sync-delimited", message.error));
    } else if (this.#sync.isOurs(message.return)) {
      this.#hasEverSynced = true;
      this.#sync.take(message.return);
    }
  }

  /** Agents before QEMU 3.1 give no ids back; without them answers cannot be told apart. */
  #onAnonymous(message: v.InferOutput<typeof messageSchema>): void {
    if ("error" in message || !this.#sync.isOurs(message.return)) return;
    this.#sync.refuse(
      new TrineError(
        "unimplemented",
        "the guest's qemu-guest-agent is too old (it gives no request ids back): install 4.0 or later",
      ),
    );
  }

  #onAnswer(id: string, message: v.InferOutput<typeof messageSchema>, bytes: number): void {
    const call = this.#pending.get(id);
    const doing = `guest agent: ${call?.command ?? `request ${id}`}`;
    const answer: Answer =
      "error" in message
        ? { error: fromQmpError(doing, message.error) }
        : { value: message.return };
    if (call === undefined) this.#strays.put(id, answer, bytes);
    else call.resolve(answer);
  }

  #newId(): string {
    const id = `${this.#session}-${this.#nextId}`;
    this.#nextId += 1;
    return id;
  }
}

function encode(request: Request, ...before: number[]): Uint8Array {
  const { command, args, id } = request;
  const text = `${JSON.stringify({ execute: command, arguments: args, id })}\n`;
  return Buffer.concat([Uint8Array.from(before), Buffer.from(text)]);
}

function valueOf(answer: Answer): unknown {
  if ("error" in answer) throw answer.error;
  return answer.value;
}

function unanswered(command: string, ms: number, isSent: boolean): TrineError {
  const rest = isSent
    ? "it was sent and may still be carried out"
    : "see that qemu-guest-agent is installed and running in the guest";
  return new TrineError(
    "unavailable",
    `the guest agent did not answer ${command} within ${ms} ms: ${rest}`,
  );
}
