import type { IncomingMessage, ServerResponse } from "node:http";
import { type Server, createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { TrineError } from "@trine/base";
import type { VirtApiDeps } from "../deps.ts";
import { type Answer, send, text } from "../http/answer.ts";
import { endServer, isEnding } from "../server/end-server.ts";
import { failureAnswer } from "../server/failure-answer.ts";
import { listenAt } from "../server/listen-at.ts";
import type { ServingCertificate } from "../server/serve-virt-api.ts";
import { isUpload, takeUpload } from "./upload-proxy.ts";

type Deps = Pick<VirtApiDeps, "kube" | "doorOf" | "uploadKey" | "now" | "logger">;

export interface UploadOptions extends Deps {
  /** `HOST:PORT`, `:PORT` for all addresses; port 0 takes a free one. */
  readonly listen: string;
  readonly serving: ServingCertificate;
}

/** The upload proxy while it is served. */
export interface UploadServer {
  readonly port: number;
  /** New connections get this certificate; those that are open go on. */
  setCertificate(serving: ServingCertificate): void;
  /** Ends uploads with 503, waits some seconds for what is being answered. */
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 1_024;
const HEADERS_MS = 10_000;
/** A web console's page is of another origin; what it may do the token says, which no browser sends by itself. */
const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "HEAD, POST, PUT",
  "access-control-allow-headers": "authorization, content-type",
  "access-control-max-age": "600",
};

/**
 * Takes uploads at a port of their own: it may be shown to the world, the API's and the webhooks' may not, and it asks no
 * browser for a certificate. Resolves once it takes connections.
 */
export async function serveUploads(options: UploadOptions): Promise<UploadServer> {
  const server = new Uploads(options);
  await server.listen();
  return server;
}

class Uploads implements UploadServer {
  readonly #options: UploadOptions;
  readonly #server: Server;
  /** Of each that goes on: it may take hours. */
  readonly #running = new Set<AbortController>();

  constructor(options: UploadOptions) {
    this.#options = options;
    const limits = {
      headersTimeout: HEADERS_MS,
      // An upload takes as long as it goes on.
      requestTimeout: 0,
      maxHeaderSize: 16 * 1024,
      handshakeTimeout: HEADERS_MS,
    };
    this.#server = createServer({ ...limits, ...contextOf(options.serving) });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on("request", (request, response) => void this.#onRequest(request, response));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  listen(): Promise<void> {
    return listenAt(this.#server, this.#options.listen, "the upload proxy");
  }

  setCertificate(serving: ServingCertificate): void {
    this.#server.setSecureContext(contextOf(serving));
  }

  async close(): Promise<void> {
    const ended = endServer(this.#server);
    for (const upload of this.#running) {
      upload.abort(new TrineError("unavailable", "this server ends: send it again"));
    }
    await ended;
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const left = new AbortController();
    this.#running.add(left);
    response.once("close", () => {
      this.#running.delete(left);
      left.abort(new TrineError("canceled", "the client left"));
    });
    // A client that leaves in the middle is no failure of ours.
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    const answer = await this.#answer(request, left.signal).catch((cause: unknown) =>
      failureAnswer(this.#options.logger, request, cause),
    );
    // What was not read of the body will not be.
    if (!request.complete || isEnding(this.#server)) response.setHeader("connection", "close");
    send(response, { ...answer, headers: { ...answer.headers, ...CORS } });
  }

  async #answer(request: IncomingMessage, signal: AbortSignal): Promise<Answer> {
    const [path = ""] = request.url?.split("?", 1) ?? [];
    if (path === "/healthz") return text("ok");
    if (!isUpload(path)) {
      throw new TrineError("notFound", "the server could not find the requested resource");
    }
    if (request.method === "OPTIONS") return text("");
    return takeUpload(this.#options, path, request, signal);
  }
}

function contextOf({ certificate, key }: ServingCertificate): object {
  return { cert: certificate, key, minVersion: "TLSv1.2" };
}
