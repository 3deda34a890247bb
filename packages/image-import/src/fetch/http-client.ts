import type { IncomingMessage, RequestOptions } from "node:http";
import { readFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import type { ConnectionOptions, SecureContextOptions } from "node:tls";
import { TrineError, errnoOf, kindOf, messageOf, observed, quote } from "@trine/base";
import type { OnRequest } from "@trine/base";
import { authorization } from "./credentials.ts";
import type { CredentialsOf } from "./credentials.ts";

const MAX_REDIRECTS = 10;
const MAX_CA_BYTES = 4 * 1024 * 1024;
const REDIRECTS = [301, 302, 303, 307, 308];
/** The codes by which the TLS library says that it does not trust the other side. */
const UNTRUSTED = /^(CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|ERR_TLS_CERT|ERR_SSL)/;

export interface HttpSettings {
  /** For everything, whatever the environment says. */
  readonly proxy?: string;
  /** The variables that name proxies: HTTP_PROXY, HTTPS_PROXY, NO_PROXY, in either case. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** PEM certificates trusted beside the system's. */
  readonly caFile?: string;
  /** How the server of a request's own URL is met; those it leads to are met as any other. */
  readonly ownServer?: OwnServer;
  /** Told to the server of a request's own URL only. Never part of a message. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Leads that are followed; absent: 10. */
  readonly maxRedirects?: number;
  readonly credentials: CredentialsOf;
  /** Longest time until an answer's headers are there, and between two of its bytes; ms. */
  readonly stallMs: number;
  /** Whether a server may lead here; absent: anywhere. */
  readonly mayFollow?: (url: URL) => boolean;
  /** Hears of each request, and of its answer's headers. */
  readonly onRequest?: OnRequest;
}

interface OwnServer {
  /** Whoever answers is believed. */
  readonly insecure?: boolean;
  /** What its certificate is for, in place of the URL's host. */
  readonly serverName?: string;
  /** Who we are to it, in PEM. Never part of a message. */
  readonly certificate?: { readonly cert: string; readonly key: string };
}

export interface HttpRequest {
  readonly url: URL;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Readable | Buffer;
  /** Leads are followed with GET and HEAD only. */
  readonly follow?: boolean;
}

export interface HttpAnswer {
  readonly status: number;
  readonly message: IncomingMessage;
  /** Where the answer came from, after all leads. */
  readonly url: URL;
  /** What went wrong on the connection while the body came, such as bytes behind its end. */
  failure(): Error | undefined;
}

type Agent = NonNullable<RequestOptions["agent"]>;

/** HTTP/1.1 with proxies, own authorities and credentials by host; one connection a request. */
export class HttpClient {
  readonly #settings: HttpSettings;
  readonly #agents: Readonly<Record<string, Agent>>;
  readonly #tls: SecureContextOptions;

  private constructor(
    settings: HttpSettings,
    agents: Readonly<Record<string, Agent>>,
    tls: SecureContextOptions,
  ) {
    this.#settings = settings;
    this.#agents = agents;
    this.#tls = tls;
  }

  static async create(settings: HttpSettings): Promise<HttpClient> {
    const [http, https] = await Promise.all([import("node:http"), import("node:https")]);
    const proxyEnv = proxies(settings);
    const agents = {
      "http:": new http.Agent({ keepAlive: false, proxyEnv }),
      "https:": new https.Agent({ keepAlive: false, proxyEnv }),
    };
    return new HttpClient(settings, agents, await authorities(settings.caFile));
  }

  /** Answers the first answer that is not a lead elsewhere; its body is the caller's to read or destroy. */
  async send(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const visited: string[] = [];
    let url = request.url;
    for (;;) {
      const { message, failure } = await observed(
        this.#settings.onRequest,
        { method: request.method ?? "GET", target: shown(url) },
        () => this.#once(request, url, signal),
        { done: (answer) => ({ status: String(answer.message.statusCode) }), failed: kindOf },
      );
      const status = message.statusCode ?? 0;
      const { location } = message.headers;
      if (request.follow === false || !REDIRECTS.includes(status) || location === undefined) {
        return { status, message, url, failure };
      }
      message.destroy();
      visited.push(url.href);
      const next = nextUrl(url, location, visited, this.#settings.maxRedirects ?? MAX_REDIRECTS);
      if (this.#settings.mayFollow?.(next) === false) {
        throw new TrineError("forbidden", `${shown(url)}: leads to ${shown(next)}: not allowed`);
      }
      url = next;
    }
  }

  async #once(
    request: HttpRequest,
    url: URL,
    signal: AbortSignal,
  ): Promise<Pick<HttpAnswer, "message" | "failure">> {
    const isTls = url.protocol === "https:";
    const module = isTls ? await import("node:https") : await import("node:http");
    const { method = "GET", body } = request;
    const isOwn = url.origin === request.url.origin;
    const options = {
      method,
      signal,
      agent: this.#agents[url.protocol],
      ...(isTls && this.#tls),
      ...(isTls && isOwn && ownTls(this.#settings.ownServer)),
      headers: {
        // What the file is, not what a server makes of it on the way.
        "accept-encoding": "identity",
        "user-agent": "trine",
        connection: "close",
        // Another server is told nothing that was meant for this one.
        ...(isOwn ? { ...this.#settings.headers, ...request.headers } : rangeOf(request.headers)),
        ...(isOwn && request.headers?.["authorization"] === undefined
          ? authorization(this.#settings.credentials(url.host))
          : {}),
      },
    };
    let failed: Error | undefined;
    return new Promise((resolve, reject) => {
      const { stallMs } = this.#settings;
      const sent = module.request(url, options, (message) => {
        clearTimeout(late);
        sent.setTimeout(0);
        resolve({ message, failure: () => failed });
      });
      const stop = (): void => {
        const what = `${shown(url)}: no answer within ${stallMs} ms`;
        sent.destroy(new TrineError("timeout", what));
      };
      // Headers that drip are no silence; with nothing to send there is no other reason to wait.
      const late = body === undefined ? setTimeout(stop, stallMs) : undefined;
      if (body !== undefined) sent.setTimeout(stallMs, stop);
      sent.on("error", (cause) => {
        clearTimeout(late);
        failed = cause;
        reject(signal.aborted ? (signal.reason as Error) : connectError(url, cause));
      });
      if (body === undefined || Buffer.isBuffer(body)) sent.end(body);
      else {
        body.once("error", (cause) => sent.destroy(cause)).pipe(sent);
        // An answer may come before all was sent: the rest has nowhere to go.
        sent.once("close", () => body.destroy());
      }
    });
  }
}

/** A URL for messages: neither its query nor a name and password in it. */
export function shown(url: URL): string {
  const { protocol, host, pathname } = url;
  return quote(`${protocol}//${host}${pathname}`).slice(1, -1);
}

/** Kind `invalid` for what is not fetched, without its secrets. */
export function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null) throw new TrineError("invalid", "the URL cannot be read");
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new TrineError("invalid", `${shown(url)}: http and https are supported`);
  }
  if (url.username !== "" || url.password !== "") {
    const advice = "put it into a credentials file (--auth-file), where nobody reads along";
    throw new TrineError(
      "invalid",
      `${shown(url)}: a URL with a name or password in it: ${advice}`,
    );
  }
  return url;
}

function nextUrl(from: URL, location: string, visited: readonly string[], most: number): URL {
  if (visited.length > most) {
    throw new TrineError("invalid", `${shown(from)}: leads elsewhere more than ${most} times`);
  }
  const url = URL.parse(location, from);
  const isHttp = url?.protocol === "http:" || url?.protocol === "https:";
  if (url === null || !isHttp) {
    throw new TrineError("invalid", `${shown(from)}: leads to something that is not http`);
  }
  if (from.protocol === "https:" && url.protocol === "http:") {
    throw new TrineError("invalid", `${shown(from)}: leads from https to http, at ${shown(url)}`);
  }
  url.username = "";
  url.password = "";
  return url;
}

function rangeOf(headers: HttpRequest["headers"]): Record<string, string> {
  const kept = Object.entries(headers ?? {}).filter(([key]) => ["range", "if-range"].includes(key));
  return Object.fromEntries(kept);
}

function proxies(settings: HttpSettings): Record<string, string> {
  const { proxy, environment } = settings;
  const of = (name: string): string | undefined =>
    environment[name.toLowerCase()] ?? environment[name];
  const wanted = {
    HTTP_PROXY: proxy ?? of("HTTP_PROXY"),
    HTTPS_PROXY: proxy ?? of("HTTPS_PROXY"),
    NO_PROXY: proxy === undefined ? of("NO_PROXY") : undefined,
  };
  const given = Object.entries(wanted).filter(([, value]) => value !== undefined && value !== "");
  for (const [name, value = ""] of given) if (name !== "NO_PROXY") requireProxy(value);
  return Object.fromEntries(given) as Record<string, string>;
}

function requireProxy(text: string): void {
  const protocol = URL.parse(text)?.protocol;
  if (protocol === "http:" || protocol === "https:") return;
  throw new TrineError("invalid", "the proxy's URL: http://HOST:PORT is wanted");
}

async function authorities(caFile: string | undefined): Promise<SecureContextOptions> {
  if (caFile === undefined) return {};
  const tls = await import("node:tls");
  const text = await readFile(caFile, "utf8").catch((cause: unknown) => {
    throw TrineError.during(`authorities file ${quote(caFile)}`, cause);
  });
  if (text.length > MAX_CA_BYTES || !text.includes("-----BEGIN CERTIFICATE-----")) {
    throw new TrineError(
      "invalid",
      `authorities file ${quote(caFile)}: PEM certificates are wanted`,
    );
  }
  return { ca: [...tls.getCACertificates("default"), text] };
}

function ownTls({ insecure, serverName, certificate }: OwnServer = {}): ConnectionOptions {
  return {
    ...(insecure === true && { rejectUnauthorized: false }),
    ...(serverName !== undefined && { servername: serverName }),
    ...certificate,
  };
}

function connectError(url: URL, cause: Error): Error {
  if (cause instanceof TrineError) return cause;
  const code = errnoOf(cause) ?? "";
  const words = cause instanceof AggregateError ? messageOf(cause.errors[0]) : cause.message;
  if (UNTRUSTED.test(code)) {
    const advice = "--ca-file names an authority of your own";
    return new TrineError("forbidden", `${shown(url)}: not trusted (${words}): ${advice}`, {
      cause,
    });
  }
  return new TrineError("unavailable", `${shown(url)}: ${words.trim() || code}`, { cause });
}
