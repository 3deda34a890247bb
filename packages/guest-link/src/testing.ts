import { JsonLines } from "@trine/base";
import type { ByteChannel } from "@trine/vmm";

export { FakeAgent } from "./fake-agent.ts";

type Handler = (args: Record<string, unknown>) => unknown;

interface AgentRequest {
  readonly execute: string;
  readonly id: string;
  readonly arguments: Record<string, unknown>;
}

/** Thrown by a handler: the agent's refusal. */
export class AgentRefusal extends Error {}

/**
 * A qemu-guest-agent in memory, and the channel to it. The bytes it sent stay in the channel until read,
 * as in production, so that a second GuestAgent can go on where a first one stopped.
 */
export class FakeGuestAgent implements ByteChannel {
  /** False: requests are left in the agent's queue, and answered once it is set to true by `resume`. */
  isReading = true;
  readonly requests: AgentRequest[] = [];
  readonly #handlers: Readonly<Record<string, Handler>>;
  readonly #lines = new JsonLines({ maxLineBytes: 4 << 20, maxDepth: 20, resetByte: 0xff });
  #toAgent: Uint8Array[] = [];
  #fromAgent: Uint8Array[] = [];
  #hasEnded = false;
  #wake = Promise.withResolvers<undefined>();

  /** A handler's value is the answer; undefined = no answer at all. */
  constructor(handlers: Readonly<Record<string, Handler>> = {}) {
    this.#handlers = { "guest-ping": () => ({}), ...handlers };
  }

  resume(): void {
    this.isReading = true;
    const waiting = this.#toAgent;
    this.#toAgent = [];
    for (const bytes of waiting) this.#take(bytes);
  }

  /** Puts bytes into the channel as if the agent had sent them. */
  send(bytes: Uint8Array | string): void {
    this.#fromAgent.push(typeof bytes === "string" ? Buffer.from(bytes) : bytes);
    this.#turn();
  }

  /** The machine is gone. */
  end(): void {
    this.#hasEnded = true;
    this.#turn();
  }

  async read(signal: AbortSignal): Promise<Uint8Array | undefined> {
    for (;;) {
      signal.throwIfAborted();
      const bytes = this.#fromAgent.shift();
      if (bytes !== undefined || this.#hasEnded) return bytes;
      const onAbort = (): void => {
        this.#turn();
      };
      signal.addEventListener("abort", onAbort);
      await this.#wake.promise;
      signal.removeEventListener("abort", onAbort);
    }
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.isReading) this.#take(bytes);
    else this.#toAgent.push(bytes);
    return Promise.resolve();
  }

  #turn(): void {
    this.#wake.resolve(undefined);
    this.#wake = Promise.withResolvers();
  }

  #take(bytes: Uint8Array): void {
    for (const line of this.#lines.push(bytes)) {
      if ("value" in line) this.#answer(line.value as AgentRequest);
    }
  }

  #answer(request: AgentRequest): void {
    if (request.execute === "guest-sync-delimited") {
      this.send(Uint8Array.of(0xff));
      this.#reply(request, { return: request.arguments["id"] });
      return;
    }
    this.requests.push(request);
    const handler = this.#handlers[request.execute];
    if (handler === undefined) {
      const desc = `The command ${request.execute} has not been found`;
      this.#reply(request, { error: { class: "CommandNotFound", desc } });
      return;
    }
    try {
      const value = handler(request.arguments);
      if (value !== undefined) this.#reply(request, { return: value });
    } catch (cause) {
      if (!(cause instanceof AgentRefusal)) throw cause;
      this.#reply(request, { error: { class: "GenericError", desc: cause.message } });
    }
  }

  #reply(request: AgentRequest, answer: object): void {
    this.send(`${JSON.stringify({ ...answer, id: request.id })}\n`);
  }
}
