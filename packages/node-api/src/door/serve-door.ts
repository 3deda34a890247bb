import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import { TrineError, kindOf, messageOf } from "@trine/base";
import { STREAM_PROTOCOL } from "@trine/node-door";
import type { DoorCredentials } from "@trine/node-door";
import type { Logger } from "pino";
import { STATUS, bodyOf, refusalOf, requireMethod, send } from "./door-http.ts";
import { foundImports, openUpload } from "./door-imports.ts";
import { findMachine, foundMachines } from "./door-machines.ts";
import type { DoorEngine, FoundMachine } from "./door-machines.ts";
import { parseDoorPath } from "./door-path.ts";
import type { DoorPath } from "./door-path.ts";
import { DoorSessions } from "./door-sessions.ts";
import { openConsole, openDisplay, openTcp, openUdp } from "./door-streams.ts";
import type { OpenStream } from "./door-streams.ts";
import { MachineFeed } from "./machine-feed.ts";
import { ACTS, ASKED_BY, QUESTIONS, screenshotOf } from "./machine-routes.ts";
import { watchMachines } from "./watch-response.ts";

const REQUEST_MS = 10_000;
const MAX_CONNECTIONS = 1_024;
const MAX_STREAMS = 512;

export interface DoorServerOptions {
  readonly engine: DoorEngine;
  readonly log: Logger;
  /** As Prometheus reads it. */
  readonly metrics: () => Promise<string>;
  readonly credentials: DoorCredentials;
  /** Names of certificates that may come in. */
  readonly clients: readonly string[];
  /** Empty = all of the node's addresses. */
  readonly host: string;
  /** 0 = any that is free. */
  readonly port: number;
}

/** The node's door: HTTPS for those whose certificates the cluster's authority signed, and of those the named ones only. */
export class DoorServer {
  readonly #options: DoorServerOptions;
  readonly #feed: MachineFeed;
  readonly #sessions = new DoorSessions();
  readonly #streams = new Set<Duplex>();
  /** Also those that are still to say who they are. */
  readonly #connections = new Set<Socket>();
  readonly #server: Server;

  private constructor(options: DoorServerOptions) {
    this.#options = options;
    this.#feed = new MachineFeed(options.engine, options.log);
    this.#server = createServer(
      {
        ...secretsOf(options.credentials),
        minVersion: "TLSv1.3",
        requestCert: true,
        rejectUnauthorized: true,
        allowHalfOpen: true,
        requestTimeout: REQUEST_MS,
        headersTimeout: REQUEST_MS,
        handshakeTimeout: REQUEST_MS,
        maxHeaderSize: 8 * 1024,
      },
      (request, response) => {
        void this.#answer(request, response);
      },
    );
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on("upgrade", (request, socket) => {
      void this.#upgrade(request, socket);
    });
    this.#server.on("connection", (connection: Socket) => {
      this.#connections.add(connection);
      connection.on("close", () => this.#connections.delete(connection));
    });
    this.#server.on("tlsClientError", (cause, connection) => {
      connection.destroy();
      options.log.debug({ err: messageOf(cause) }, "door: a connection was refused");
    });
  }

  static async listen(options: DoorServerOptions): Promise<DoorServer> {
    const door = new DoorServer(options);
    const { host, port } = options;
    await new Promise<void>((resolve, reject) => {
      door.#server.once("error", reject);
      door.#server.listen({ port, ...(host === "" ? {} : { host }) }, resolve);
    });
    return door;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** For new connections; those that are open go on. */
  renew(credentials: DoorCredentials): void {
    this.#server.setSecureContext({ ...secretsOf(credentials), minVersion: "TLSv1.3" });
  }

  async close(): Promise<void> {
    this.#feed.stop();
    for (const stream of this.#streams) stream.destroy();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const connection of this.#connections) connection.destroy();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.on("close", () => {
      gone.abort(new TrineError("canceled", "the caller has left"));
    });
    try {
      this.#admit(request);
      await this.#route(request, response, gone.signal);
    } catch (cause) {
      this.#refuse(request, cause);
      if (response.headersSent) response.destroy();
      else send(response, STATUS[kindOf(cause)], refusalOf(cause));
    }
  }

  /** The authority signs others too: kubelets, other nodes' doors. */
  #admit(request: IncomingMessage): void {
    const name = callerOf(request);
    if (name !== undefined && this.#options.clients.includes(name)) return;
    throw new TrineError("forbidden", "this certificate's name may not come in here");
  }

  async #route(
    request: IncomingMessage,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    const path = parseDoorPath(request.url);
    if (path.isMetrics === true) {
      requireMethod(request, "GET");
      const text = await this.#options.metrics();
      response.writeHead(200, { "content-type": "text/plain; version=0.0.4" }).end(text);
      return;
    }
    if (path.imports !== undefined) {
      requireMethod(request, "GET");
      if (path.imports.container !== undefined) throw new TrineError("invalid", "it is a stream");
      send(response, 200, { items: await foundImports(this.#options.engine) });
      return;
    }
    if (path.machine === undefined) {
      requireMethod(request, "GET");
      if (path.query.get("watch") === "true") await watchMachines(this.#feed, response);
      else send(response, 200, { items: await this.#items() });
      return;
    }
    const found = await findMachine(this.#options.engine, path.machine);
    const { rest } = path.machine;
    if (rest === "") {
      requireMethod(request, "GET");
      send(response, 200, await this.#feed.fresh(found));
    } else if (rest === "screenshot") {
      requireMethod(request, "GET");
      response.writeHead(200, { "content-type": "image/png" }).end(await screenshotOf(found));
    } else if (Object.hasOwn(QUESTIONS, rest)) {
      requireMethod(request, "GET");
      send(response, 200, await QUESTIONS[rest]?.(found));
    } else {
      await this.#act(request, response, { rest, found, signal });
    }
  }

  async #act(
    request: IncomingMessage,
    response: ServerResponse,
    to: { readonly rest: string; readonly found: FoundMachine; readonly signal: AbortSignal },
  ): Promise<void> {
    const act = Object.hasOwn(ACTS, to.rest) ? ACTS[to.rest] : undefined;
    if (act === undefined) throw new TrineError("notFound", "no such path");
    requireMethod(request, "PUT");
    requireCaller(request, to.rest);
    const body = await bodyOf(request);
    this.#options.log.info({ pod: to.found.report.pod, what: to.rest }, "door");
    await act(to.found, body, to.signal);
    send(response, 200, {});
  }

  async #items(): Promise<unknown[]> {
    return (await foundMachines(this.#options.engine)).map(({ report }) => report);
  }

  async #upgrade(request: IncomingMessage, socket: Duplex): Promise<void> {
    socket.on("error", () => socket.destroy());
    this.#streams.add(socket);
    socket.on("close", () => this.#streams.delete(socket));
    try {
      this.#admit(request);
      if (request.headers.upgrade !== STREAM_PROTOCOL) {
        throw new TrineError("invalid", `streams are upgraded to ${STREAM_PROTOCOL}`);
      }
      if (this.#streams.size > MAX_STREAMS) throw new TrineError("exhausted", "too many streams");
      await this.#stream(parseDoorPath(request.url), socket);
    } catch (cause) {
      this.#refuse(request, cause);
      const body = JSON.stringify(refusalOf(cause));
      const head = `HTTP/1.1 ${STATUS[kindOf(cause)]} refused\r\ncontent-type: application/json\r\n`;
      socket.end(
        `${head}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      );
      socket.resume();
    }
  }

  async #stream({ machine, query, imports }: DoorPath, socket: Duplex): Promise<void> {
    const { namespace, pod, uid, container } = imports ?? {};
    if (
      namespace !== undefined &&
      pod !== undefined &&
      uid !== undefined &&
      container !== undefined
    ) {
      const ref = { namespace, pod, uid, container };
      begin(socket, await openUpload(this.#options.engine, ref));
      return;
    }
    if (machine === undefined) throw new TrineError("notFound", "no such stream");
    const found = await findMachine(this.#options.engine, machine);
    const preserve = query.get("preserveSession") === "true";
    const name = `${machine.rest}/${found.report.sandboxId}`;
    const isSession = machine.rest === "console" || machine.rest === "vnc";
    if (isSession) this.#sessions.check(name, preserve);
    const stream = await openStream(found, machine.rest, preserve);
    if (!isSession) begin(socket, stream);
    else if (isOpen(socket, stream)) this.#sessions.join(name, stream, socket);
  }

  #refuse(request: IncomingMessage, cause: unknown): void {
    const { method, url = "" } = request;
    const told = { method, path: url.split("?", 1)[0]?.slice(0, 200), err: messageOf(cause) };
    const kind = kindOf(cause);
    if (kind === "internal") this.#options.log.error({ ...told, cause }, "door: failed");
    else this.#options.log.debug({ ...told, kind }, "door: refused");
  }
}

/** The name in the caller's certificate, which the authority has signed. */
function callerOf({ socket }: IncomingMessage): string | undefined {
  const peer = socket instanceof TLSSocket ? socket.getPeerCertificate() : undefined;
  const name: unknown = peer?.subject.CN;
  return typeof name === "string" ? name : undefined;
}

function requireCaller(request: IncomingMessage, what: string): void {
  const only = Object.hasOwn(ASKED_BY, what) ? ASKED_BY[what] : undefined;
  if (only === undefined || callerOf(request) === only) return;
  throw new TrineError("forbidden", `${what}: asked by ${only} alone`);
}

/** Says that the stream begins, where its caller is still there. */
function isOpen(socket: Duplex, stream: OpenStream): boolean {
  if (socket.destroyed) {
    stream.close();
    return false;
  }
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: ${STREAM_PROTOCOL}\r\n\r\n`,
  );
  return true;
}

function begin(socket: Duplex, stream: OpenStream): void {
  if (isOpen(socket, stream)) stream.join(socket);
}

function openStream(
  found: FoundMachine,
  rest: string,
  preserve: boolean,
): ReturnType<typeof openDisplay> {
  if (rest === "console") return openConsole(found, { take: !preserve });
  if (rest === "vnc") return openDisplay(found);
  const [, port, protocol] = /^portforward\/(\d{1,5})\/(tcp|udp)$/.exec(rest) ?? [];
  const number = Number(port);
  if (port === undefined) throw new TrineError("notFound", "no such stream");
  if (number < 1 || number > 65_535) throw new TrineError("invalid", `no port ${port}`);
  return protocol === "udp" ? openUdp(found, number) : openTcp(found, number);
}

function secretsOf({ certificate, key, authority }: DoorCredentials): {
  cert: string;
  key: string;
  ca: string;
} {
  return { cert: certificate, key, ca: authority };
}
