import type { IncomingMessage, ServerResponse } from "node:http";
import { type Server, createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { constants } from "node:crypto";
import { TrineError } from "@trine/base";
import { Authentication } from "../access/authentication.ts";
import { Authorization } from "../access/authorization.ts";
import type { FrontProxySettings } from "../access/front-proxy.ts";
import { readFrontProxySettings } from "../access/front-proxy-settings.ts";
import type { Reviewer } from "../access/reviewer.ts";
import type { VirtApiDeps } from "../deps.ts";
import { type Answer, send, sendRaw } from "../http/answer.ts";
import { Upgrades } from "../streams/upgrades.ts";
import { endServer, isEnding } from "./end-server.ts";
import { failureAnswer } from "./failure-answer.ts";
import { listenAt } from "./listen-at.ts";
import { requestKind } from "./request-kind.ts";
import { respond } from "./respond.ts";
import type { Access } from "./serve-subresource.ts";
import { serveStream } from "./serve-stream.ts";

/** PEM each. */
export interface ServingCertificate {
  readonly certificate: string;
  readonly key: string;
}

export interface ServeOptions extends VirtApiDeps {
  readonly reviewer: Reviewer;
  /** `HOST:PORT`, `:PORT` for all addresses; port 0 takes a free one. */
  readonly listen: string;
  readonly serving: ServingCertificate;
}

/** The API while it is served. */
export interface VirtApi {
  readonly port: number;
  /** New connections get this certificate; those that are open go on. */
  setCertificate(serving: ServingCertificate): void;
  /** Takes no more requests, ends streams, waits some seconds for what is being answered. */
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 4_096;
const HEADERS_MS = 10_000;
/**
 * The API server keeps a connection that is not used for 90 s. The end that closes it first must be its own: who closes it while the
 * other writes fails that call, and a user's create with its webhook.
 */
const IDLE_MS = 180_000;
/** How long after a change the API server's own authority is believed in at most. */
const REREAD_MS = 60_000;

/**
 * Serves subresources, streams, discovery and webhooks over HTTPS. Resolves once it takes connections; rejects with what
 * kept it from reading how the API server makes itself known.
 */
export async function serveVirtApi(options: ServeOptions): Promise<VirtApi> {
  const first = await readFrontProxySettings(options.kube);
  const server = new VirtApiServer(options, first);
  await server.listen();
  return server;
}

class VirtApiServer implements VirtApi {
  readonly #options: ServeOptions;
  readonly #server: Server;
  readonly #upgrades = new Upgrades();
  /** Those that are to become streams, too. */
  readonly #upgraded = new Set<Duplex>();
  readonly #access: Access;
  readonly #timer: NodeJS.Timeout;
  #frontProxy: FrontProxySettings;
  #serving: ServingCertificate;

  constructor(options: ServeOptions, frontProxy: FrontProxySettings) {
    this.#options = options;
    this.#frontProxy = frontProxy;
    this.#serving = options.serving;
    this.#access = {
      authentication: new Authentication({
        reviewer: options.reviewer,
        frontProxy: () => this.#frontProxy,
      }),
      authorization: new Authorization(options.reviewer),
    };
    const limits = {
      headersTimeout: HEADERS_MS,
      // Bodies have deadlines of their own.
      requestTimeout: 0,
      keepAliveTimeout: IDLE_MS,
      maxHeaderSize: 64 * 1024,
    };
    // Whoever has no certificate may have a token; whoever has a wrong one has none.
    const clients = { requestCert: true, rejectUnauthorized: false, handshakeTimeout: HEADERS_MS };
    this.#server = createServer({ ...limits, ...clients, ...this.#context() });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on("request", (request, response) => void this.#onRequest(request, response));
    this.#server.on(
      "upgrade",
      (request, socket, head) => void this.#onUpgrade(request, socket, head),
    );
    this.#timer = setInterval(() => void this.#reread(), REREAD_MS);
    this.#timer.unref();
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  listen(): Promise<void> {
    return listenAt(this.#server, this.#options.listen, "virt-api");
  }

  setCertificate(serving: ServingCertificate): void {
    this.#serving = serving;
    this.#server.setSecureContext(this.#context());
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    const ended = endServer(this.#server, { upgraded: this.#upgraded });
    this.#upgrades.close();
    await ended;
  }

  #context(): object {
    const { certificate, key } = this.#serving;
    return {
      cert: certificate,
      key,
      ca: this.#frontProxy.authority,
      minVersion: "TLSv1.2",
      // A resumed session shows no certificate, and would outlive the authority that was believed in.
      secureOptions: constants.SSL_OP_NO_TICKET,
    };
  }

  /** The API server's front may get another authority while we run. */
  async #reread(): Promise<void> {
    try {
      const settings = await readFrontProxySettings(this.#options.kube);
      const isNew = settings.authority !== this.#frontProxy.authority;
      this.#frontProxy = settings;
      if (isNew) this.#server.setSecureContext(this.#context());
    } catch (err) {
      this.#options.logger.warn({ err }, "front proxy's settings are not read anew");
    }
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const began = performance.now();
    const left = new AbortController();
    response.once("close", () => {
      left.abort(new TrineError("canceled", "the client left"));
    });
    // A client that leaves in the middle is no failure of ours.
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    const answer = await respond(this.#options, this.#access, request, left.signal).catch(
      (cause: unknown) => this.#failure(request, cause),
    );
    // What was not read of the body will not be: a client that goes on with it has its connection no longer.
    if (!request.complete || isEnding(this.#server)) response.setHeader("connection", "close");
    send(response, answer);
    const [path = ""] = (request.url ?? "").split("?", 1);
    const seconds = (performance.now() - began) / 1_000;
    const { code } = answer;
    this.#options.onAnswer?.({ ...requestKind(request.method ?? "", path), code, seconds });
  }

  async #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on("error", () => undefined);
    this.#upgraded.add(socket);
    socket.once("close", () => this.#upgraded.delete(socket));
    const upgrade = { request, socket, head };
    try {
      const answer = await serveStream(this.#options, this.#access, this.#upgrades, upgrade);
      if (answer !== undefined) sendRaw(socket, answer);
    } catch (cause) {
      sendRaw(socket, this.#failure(request, cause));
    }
  }

  #failure(request: IncomingMessage, cause: unknown): Answer {
    return failureAnswer(this.#options.logger, request, cause);
  }
}
