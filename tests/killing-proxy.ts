// In front of an API server: counts what one program writes of machines, and ends the program before such a write or after it.
import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Agent, type Server, createServer, request } from "node:https";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import type { KubeControlPlane } from "@trine/testkit";

/** When the program dies: the API server has not heard the write, or has done it and is not heard. */
export type Death = "before" | "after";

export class KillingProxy {
  /** Writes since `plan`. */
  written = 0;
  /** Where deaths came, as `before PATCH /path`. */
  readonly deaths: string[] = [];
  readonly #server: Server;
  readonly #plane: KubeControlPlane;
  readonly #agent: Agent;
  readonly #isCounted: (path: string) => boolean;
  #plan: (write: number) => Death | undefined = () => undefined;
  /** Ends the program, at once. */
  #kill: () => void = () => undefined;
  #isDead = false;

  private constructor(
    plane: KubeControlPlane,
    of: { server: Server; agent: Agent; isCounted: (path: string) => boolean },
  ) {
    this.#plane = plane;
    this.#server = of.server;
    this.#agent = of.agent;
    this.#isCounted = of.isCounted;
  }

  static async start(
    plane: KubeControlPlane,
    isCounted: (path: string) => boolean,
  ): Promise<KillingProxy> {
    const pair = await plane.authority.sign("proxy", { user: "proxy", ips: ["127.0.0.1"] });
    const [ca, cert, key] = await Promise.all(
      [plane.authority.cert, pair.cert, pair.key].map((path) => readFile(path)),
    );
    const server = createServer({ cert, key });
    const agent = new Agent({ ca, keepAlive: true });
    const proxy = new KillingProxy(plane, { server, agent, isCounted });
    server.on("request", (asked: IncomingMessage, answer: ServerResponse) => {
      // A connection that breaks is the program's end, or the API server's: the other side hears of it.
      proxy.#pass(asked, answer).catch(() => answer.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Counts from now on; `kill` is called where `plan` says so, and nothing passes until `revive`. */
  plan(plan: (write: number) => Death | undefined, kill: () => void): void {
    this.written = 0;
    this.deaths.length = 0;
    this.#plan = plan;
    this.#kill = kill;
  }

  /** The next process of the program may come. */
  revive(): void {
    this.#isDead = false;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#agent.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #pass(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { method = "GET", url = "/" } = asked;
    const isCounted = method !== "GET" && this.#isCounted(url);
    const body = method === "GET" ? undefined : await buffer(asked);
    if (this.#isDead) {
      asked.destroy();
      return;
    }
    if (isCounted) this.written += 1;
    const death = isCounted ? this.#plan(this.written) : undefined;
    if (death === "before") {
      this.#die(`before ${method} ${url}`);
      return;
    }
    const got = await this.#forward(asked, body, answer);
    if (death === "after") {
      await buffer(got);
      this.#die(`after ${method} ${url}`);
      return;
    }
    answer.writeHead(got.statusCode ?? 502, got.headers);
    answer.flushHeaders();
    got.on("error", () => answer.destroy());
    got.pipe(answer);
  }

  /** A call ends with whoever reads its answer: watches do not end by themselves. */
  #forward(
    asked: IncomingMessage,
    body: Buffer | undefined,
    answer: ServerResponse,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const { method, headers } = asked;
      const to = new URL(asked.url ?? "/", this.#plane.server);
      const sent = request(to, {
        method,
        headers: { ...headers, host: to.host },
        agent: this.#agent,
      });
      answer.once("close", () => sent.destroy());
      sent.on("error", reject);
      sent.on("response", resolve);
      sent.end(body);
    });
  }

  #die(where: string): void {
    // Two writes at once are one death.
    if (this.#isDead) return;
    this.#isDead = true;
    this.deaths.push(where);
    this.#kill();
    this.#server.closeAllConnections();
  }
}
