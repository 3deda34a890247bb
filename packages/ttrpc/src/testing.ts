import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Task } from "@trine/proto/task";
import { TtrpcClient } from "./client.ts";
import type { CallName } from "./server-call.ts";
import { TtrpcServer } from "./server.ts";
import type { ServiceHandlers } from "./service-types.ts";

/** xorshift32: the same sequence on every run, so that a failure can be looked at again. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  next(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }

  below(limit: number): number {
    return this.next() % limit;
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.next() & 0xff);
  }
}

/** A directory with a socket path, the servers and clients on it, and what the servers reported. */
export class Bench {
  readonly dir: string;
  readonly path: string;
  readonly reported: { error: unknown; call: CallName }[] = [];
  readonly #closers: (() => unknown)[] = [];

  private constructor(dir: string) {
    this.dir = dir;
    this.path = join(dir, "s.sock");
  }

  static async open(): Promise<Bench> {
    return new Bench(await mkdtemp(join(tmpdir(), "trine-ttrpc-")));
  }

  async serve(
    handlers: ServiceHandlers<typeof Task>,
    options: { abortWhenClientGone?: boolean } = {},
  ): Promise<TtrpcServer> {
    const server = new TtrpcServer({
      ...options,
      onError: (error, call) => this.reported.push({ error, call }),
    });
    server.register(Task, handlers);
    await server.listen(this.path);
    this.defer(() => server.close());
    return server;
  }

  async connect(): Promise<TtrpcClient> {
    const client = await TtrpcClient.connect(`unix://${this.path}`);
    this.defer(() => {
      client.close();
      return client.closed;
    });
    return client;
  }

  defer(close: () => unknown): void {
    this.#closers.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    await rm(this.dir, { recursive: true });
  }
}
