import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import { Socket, connect } from "node:net";
import type { AddressInfo, NetConnectOpts } from "node:net";
import type { Duplex } from "node:stream";
import { TrineError } from "@trine/base";
import type { Logger } from "pino";
import { joinStreams, refuse } from "./join-streams.ts";

/** What a node's exec, attach and port-forward may hold at a time. */
export interface StreamLimits {
  /** URLs that were given out and not used yet. */
  readonly pending: number;
  /** How long such a URL is good for. */
  readonly urlMs: number;
  /** Streams under way. */
  readonly open: number;
  /** For a request to be whole, a back end to take the connection, and to answer its first byte. */
  readonly answerMs: number;
}

/** Those of Kubernetes' own streaming servers, where they have any. */
const DEFAULT_LIMITS: StreamLimits = {
  pending: 1_000,
  urlMs: 60_000,
  open: 1_000,
  answerMs: 30_000,
};
const MAX_HEAD_BYTES = 64 * 1024;
const TOKEN_BYTES = 16;
const NO_WAY =
  "its streaming URL cannot be relayed: a http URL with a host, or streamVia in the configuration, is wanted";

interface Offer {
  readonly dial: NetConnectOpts;
  /** Of the back end's URL: `/exec/TOKEN`. */
  readonly path: string;
  readonly host: string;
  readonly until: number;
}

/**
 * Streaming URLs of the gateway's own, for back ends whose URLs kubelet cannot reach. Each is good for one upgrade to SPDY or
 * WebSocket, which goes to the back end as it came; nothing of the streams within is read.
 */
export class StreamRelay {
  readonly #server: Server;
  readonly #limits: StreamLimits;
  readonly #log: Logger;
  /** By token, the oldest first. */
  readonly #offers = new Map<string, Offer>();
  readonly #open = new Set<Duplex>();
  readonly #address: URL;
  /** Where it listens, since the first URL was wanted. */
  #origin: Promise<string> | undefined;

  /** Listens at `HOST:PORT` (port 0: any) once a URL is wanted: where kubelet reaches every back end nobody does. */
  constructor(address: string, log: Logger, limits: Partial<StreamLimits> = {}) {
    this.#address = new URL(`http://${address}`);
    this.#log = log;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    const { answerMs: ms, open } = this.#limits;
    const times = { headersTimeout: ms, requestTimeout: ms, connectionsCheckingInterval: ms };
    this.#server = createServer(
      { ...times, maxHeaderSize: MAX_HEAD_BYTES },
      (request, response) => {
        request.resume();
        response.writeHead(426, { connection: "close", upgrade: "SPDY/3.1" }).end();
      },
    );
    this.#server.maxConnections = 2 * open;
    this.#server.on("upgrade", (request, client, head) => {
      this.#relay(request, client, head);
    });
  }

  /** Streams under way. */
  get open(): number {
    return this.#open.size;
  }

  /**
   * A URL of ours that leads to this one of a back end's, dialled at `via` (HOST:PORT or the path of a unix socket) where that is
   * not empty. Kind `exhausted` with too many that nobody has used, `unimplemented` for a URL that cannot be relayed; rejects as
   * listen(2) does.
   */
  async offer(url: string, via: string): Promise<string> {
    const target = URL.parse(url, via === "" ? undefined : "http://localhost");
    if (target?.protocol !== "http:") throw new TrineError("unimplemented", NO_WAY);
    const origin = await this.#listen();
    this.#forgetOld();
    if (this.#offers.size >= this.#limits.pending) {
      throw new TrineError("exhausted", "too many streaming URLs are waiting to be used");
    }
    const token = randomBytes(TOKEN_BYTES).toString("base64url");
    this.#offers.set(token, {
      dial: dialOf(target, via),
      path: target.pathname,
      host: target.host,
      until: performance.now() + this.#limits.urlMs,
    });
    return `${origin}/stream/${token}${target.search}`;
  }

  /** Ends every stream. */
  async close(): Promise<void> {
    this.#offers.clear();
    if (this.#origin === undefined) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const client of this.#open) client.destroy();
    this.#server.closeAllConnections();
    await closed;
  }

  #listen(): Promise<string> {
    const { hostname, port } = this.#address;
    const listen = async (): Promise<string> => {
      this.#server.listen(Number(port), hostOf(hostname));
      await once(this.#server, "listening");
      const { port: bound } = this.#server.address() as AddressInfo;
      return `http://${hostname}:${bound}`;
    };
    this.#origin ??= listen().catch((cause: unknown) => {
      this.#origin = undefined;
      throw TrineError.during(`streaming at ${hostname}:${port}`, cause);
    });
    return this.#origin;
  }

  #relay(request: IncomingMessage, client: Duplex, head: Buffer): void {
    client.on("error", () => client.destroy());
    if (!(client instanceof Socket)) return;
    this.#open.add(client);
    client.once("close", () => this.#open.delete(client));
    const target = URL.parse(request.url ?? "", "http://localhost"); // null for `//`
    const offer = target === null ? undefined : this.#take(target.pathname);
    if (target === null || offer === undefined) {
      refuse(client, 404, "no such stream: its URL was used, or is too old");
      return;
    }
    if (this.#open.size > this.#limits.open) {
      refuse(client, 503, "too many streams are open");
      return;
    }
    const upstream = connect({ ...offer.dial, allowHalfOpen: true, noDelay: true });
    upstream.write(headOf(request, `${offer.path}${target.search}`, offer.host));
    const { answerMs } = this.#limits;
    joinStreams({ client, head, upstream, answerMs }, (cause) => {
      this.#log.warn({ err: cause.message }, "a stream could not be relayed");
    });
  }

  #take(path: string): Offer | undefined {
    this.#forgetOld();
    const token = path.slice(path.lastIndexOf("/") + 1);
    const offer = this.#offers.get(token);
    this.#offers.delete(token);
    return offer;
  }

  #forgetOld(): void {
    const now = performance.now();
    for (const [token, { until }] of this.#offers) {
      if (until > now) return;
      this.#offers.delete(token);
    }
  }
}

function dialOf({ hostname, port }: URL, via: string): NetConnectOpts {
  if (via.startsWith("/")) return { path: via };
  const at = via === "" ? { hostname, port } : new URL(`http://${via}`);
  return { host: hostOf(at.hostname), port: Number(at.port === "" ? 80 : at.port) };
}

/** Of a URL's host, as connect(2) and listen(2) want it. */
function hostOf(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, "");
}

/** The request as it came, to the back end's own path. Its parser has let no line break into a name or value. */
function headOf({ method = "", rawHeaders }: IncomingMessage, path: string, host: string): string {
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${host}`];
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (name.toLowerCase() !== "host") lines.push(`${name}: ${rawHeaders[at + 1] ?? ""}`);
  }
  return `${lines.join("\r\n")}\r\n\r\n`;
}
