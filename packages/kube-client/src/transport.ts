import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { TrineError, abortError, errnoOf, messageOf, readAtMost } from "@trine/base";
import type { KubeConnection } from "./connection.ts";
import { CredentialSource, type Credentials } from "./credentials.ts";

export interface HttpCall {
  readonly method: string;
  /** Below the server, with its query. */
  readonly path: string;
  readonly body?: string;
  readonly contentType?: string;
  readonly accept?: string;
}

export interface HttpAnswer {
  readonly code: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

interface Pool {
  readonly credentials: Credentials;
  /** Calls share few connections; a watch has one for itself. */
  readonly calls: Agent;
  readonly watches: Agent;
}

const MAX_CALLS = 16;
const MAX_WATCHES = 128;
/** The API server closes an idle connection after more than a minute: ours go first. */
const IDLE_MS = 30_000;

/** HTTP/1.1 over TLS to one server. Its errors name the call, and never what is in it. */
export class Transport {
  readonly #connection: KubeConnection;
  readonly #source: CredentialSource;
  #pool: Pool | undefined;

  constructor(connection: KubeConnection) {
    this.#connection = connection;
    this.#source = new CredentialSource(connection);
  }

  /** One call with its whole answer; kind `exhausted` where that is longer than `maxBytes`. */
  async call(
    call: HttpCall,
    of: { readonly deadlineMs: number; readonly maxBytes: number; readonly signal?: AbortSignal },
  ): Promise<HttpAnswer> {
    const late = AbortSignal.timeout(of.deadlineMs);
    const signal = of.signal === undefined ? late : AbortSignal.any([of.signal, late]);
    const response = await this.#send(call, "calls", signal);
    const body = await readAll(nameOf(call), response, of.maxBytes, signal);
    return { code: response.statusCode ?? 0, headers: response.headers, body };
  }

  /** A call whose answer has no end of its own: its bytes are the caller's to read, or to destroy. */
  stream(call: HttpCall, signal: AbortSignal): Promise<IncomingMessage> {
    return this.#send(call, "watches", signal);
  }

  close(): void {
    this.#pool?.calls.destroy();
    this.#pool?.watches.destroy();
    this.#pool = undefined;
  }

  async #send(
    call: HttpCall,
    kind: "calls" | "watches",
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const what = nameOf(call);
    if (signal.aborted) throw abortError(what, signal);
    const pool = this.#poolFor(await this.#source.current());
    const sent = await exchange(this.#options(call, pool, kind), call.body, signal).catch(
      (cause: unknown) => {
        if (signal.aborted) throw abortError(what, signal);
        // The server closed an idle connection at the moment it was used again: nobody has seen the call.
        if (cause instanceof ReusedConnectionLost && call.method === "GET") return undefined;
        throw unreachable(what, cause);
      },
    );
    if (sent === undefined) return this.#send(call, kind, signal);
    if (sent.statusCode === 401) this.#source.doubt();
    return sent;
  }

  #options(call: HttpCall, pool: Pool, kind: "calls" | "watches"): RequestOptions {
    const { server, serverName } = this.#connection;
    const { token } = pool.credentials;
    return {
      url: new URL(server.pathname.replace(/\/$/, "") + call.path, server),
      method: call.method,
      agent: pool[kind],
      ...(serverName !== undefined && { servername: serverName }),
      headers: {
        accept: call.accept ?? "application/json",
        "user-agent": "trine",
        ...(call.body !== undefined && {
          "content-type": call.contentType ?? "application/json",
          "content-length": Buffer.byteLength(call.body),
        }),
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
    };
  }

  #poolFor(credentials: Credentials): Pool {
    const old = this.#pool;
    if (old?.credentials === credentials) return old;
    if (old !== undefined && isSameTls(old.credentials, credentials)) {
      return (this.#pool = { ...old, credentials });
    }
    if (old !== undefined) retire(old);
    const tls = {
      ca: credentials.authority,
      cert: credentials.certificate,
      key: credentials.key,
      rejectUnauthorized: this.#connection.insecure !== true,
      minVersion: "TLSv1.2",
    } as const;
    const shared = { ...tls, keepAlive: true, timeout: IDLE_MS };
    return (this.#pool = {
      credentials,
      calls: new Agent({ ...shared, maxSockets: MAX_CALLS }),
      // No time-out: bytes come when something changes.
      watches: new Agent({
        ...tls,
        keepAlive: true,
        keepAliveMsecs: 15_000,
        maxSockets: MAX_WATCHES,
      }),
    });
  }
}

interface RequestOptions {
  readonly url: URL;
  readonly method: string;
  readonly agent: Agent;
  readonly servername?: string;
  readonly headers: Readonly<Record<string, string | number>>;
}

class ReusedConnectionLost extends Error {}

function exchange(
  { url, headers, ...options }: RequestOptions,
  body: string | undefined,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { ...options, headers: { ...headers }, signal });
    sent.on("error", (cause) => {
      const isLost = sent.reusedSocket && errnoOf(cause) === "ECONNRESET";
      reject(isLost ? new ReusedConnectionLost(cause.message, { cause }) : cause);
    });
    sent.on("response", resolve);
    sent.end(body);
  });
}

async function readAll(
  what: string,
  response: IncomingMessage,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const why = `${what}: over ${maxBytes} bytes`;
  try {
    return await readAtMost(response, maxBytes, () => new TrineError("exhausted", why));
  } catch (cause) {
    if (cause instanceof TrineError) throw cause;
    if (signal.aborted) throw abortError(what, signal);
    throw unreachable(what, cause);
  }
}

/** The call in words: without its query, in which a user's selectors may be. */
function nameOf({ method, path }: HttpCall): string {
  return `${method} ${path.split("?")[0] ?? ""}`;
}

export function unreachable(what: string, cause: unknown): TrineError {
  const code = errnoOf(cause);
  const why = code === undefined ? messageOf(cause) : code;
  return new TrineError("unavailable", `${what}: the API server cannot be reached: ${why}`, {
    cause,
  });
}

function isSameTls(a: Credentials, b: Credentials): boolean {
  return a.authority === b.authority && a.certificate === b.certificate && a.key === b.key;
}

/** Ends its idle connections; those at work end when they are done. */
function retire({ calls, watches }: Pool): void {
  for (const agent of [calls, watches]) {
    agent.maxFreeSockets = 0;
    for (const sockets of Object.values(agent.freeSockets)) {
      for (const socket of sockets ?? []) socket.destroy();
    }
  }
}
