import type { IncomingMessage, ServerResponse } from "node:http";
import { type Server, createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { TrineError } from "@trine/base";
import type { Logger } from "pino";
import { Authentication } from "../access/authentication.ts";
import { Authorization } from "../access/authorization.ts";
import type { FrontProxySettings } from "../access/front-proxy.ts";
import type { Reviewer } from "../access/reviewer.ts";
import { type Answer, send } from "../http/answer.ts";
import { endServer, isEnding } from "../server/end-server.ts";
import { failureAnswer } from "../server/failure-answer.ts";
import { listenAt } from "../server/listen-at.ts";
import type { ServingCertificate } from "../server/serve-virt-api.ts";

export interface MetricsOptions {
  readonly reviewer: Reviewer;
  /** `HOST:PORT`, `:PORT` for all addresses; port 0 takes a free one. */
  readonly listen: string;
  readonly serving: ServingCertificate;
  /** Of this process, as Prometheus reads it. */
  readonly own: () => Promise<string>;
  /** Of a node by its name: what its trined says. */
  readonly ofNode: (node: string, signal: AbortSignal) => Promise<string>;
  readonly logger: Logger;
}

/** Metrics while they are served. */
export interface MetricsServer {
  readonly port: number;
  /** New connections get this certificate. */
  setCertificate(serving: ServingCertificate): void;
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 64;
const REQUEST_MS = 10_000;
/** Nobody stands in front of this port: who asks says it by a token. */
const NO_PROXY: FrontProxySettings = {
  ...{ authority: "", allowedNames: [], userHeaders: [], uidHeaders: [] },
  ...{ groupHeaders: [], extraPrefixes: [] },
};
/** The right that is asked for, of nodes too: monitoring has it in most clusters (`nonResourceURLs: [/metrics]`). */
const RIGHT = { verb: "get", path: "/metrics" } as const;
const OF_NODE = /^\/metrics\/nodes\/([^/]+)$/;

/**
 * Serves `/metrics` and `/metrics/nodes/NAME` over HTTPS to whoever may get `/metrics`: names of machines and nodes are in them.
 * Resolves once it takes connections.
 */
export async function serveMetrics(options: MetricsOptions): Promise<MetricsServer> {
  const server = new Metrics(options);
  await server.listen();
  return server;
}

class Metrics implements MetricsServer {
  readonly #options: MetricsOptions;
  readonly #authentication: Authentication;
  readonly #authorization: Authorization;
  readonly #server: Server;

  constructor(options: MetricsOptions) {
    const { reviewer, serving } = options;
    this.#options = options;
    this.#authentication = new Authentication({ reviewer, frontProxy: () => NO_PROXY });
    this.#authorization = new Authorization(reviewer);
    const limits = {
      headersTimeout: REQUEST_MS,
      requestTimeout: REQUEST_MS,
      handshakeTimeout: REQUEST_MS,
      maxHeaderSize: 16 * 1024,
    };
    this.#server = createServer({ ...limits, ...contextOf(serving) });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on("request", (request, response) => void this.#onRequest(request, response));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  listen(): Promise<void> {
    return listenAt(this.#server, this.#options.listen, "metrics");
  }

  setCertificate(serving: ServingCertificate): void {
    this.#server.setSecureContext(contextOf(serving));
  }

  async close(): Promise<void> {
    await endServer(this.#server);
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const left = new AbortController();
    response.once("close", () => {
      left.abort(new TrineError("canceled", "the client left"));
    });
    response.on("error", () => undefined);
    const answer = await this.#answer(request, left.signal).catch((cause: unknown) =>
      failureAnswer(this.#options.logger, request, cause),
    );
    // Nobody reads a body here.
    if (!request.complete || isEnding(this.#server)) response.setHeader("connection", "close");
    send(response, answer);
  }

  async #answer(request: IncomingMessage, signal: AbortSignal): Promise<Answer> {
    const [path = ""] = (request.url ?? "").split("?", 1);
    const [, node] = OF_NODE.exec(path) ?? [];
    if (path !== "/metrics" && node === undefined) {
      throw new TrineError("notFound", "the server could not find the requested resource");
    }
    if (request.method !== "GET") throw new TrineError("unimplemented", "that is asked with GET");
    const user = await this.#authentication.identify(request);
    await this.#authorization.requirePath(user, RIGHT);
    const { own, ofNode } = this.#options;
    const body = await (node === undefined ? own() : ofNode(decoded(node), signal));
    return { code: 200, type: "text/plain; version=0.0.4; charset=utf-8", body };
  }
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch (cause) {
    throw new TrineError("malformed", "the path is not encoded as a path is", { cause });
  }
}

function contextOf({ certificate, key }: ServingCertificate): object {
  return { cert: certificate, key, minVersion: "TLSv1.2" };
}
