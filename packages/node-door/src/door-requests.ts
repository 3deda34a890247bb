import { X509Certificate } from "node:crypto";
import type { ClientRequest, IncomingMessage } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import type { RequestOptions } from "node:https";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { checkServerIdentity } from "node:tls";
import type { PeerCertificate } from "node:tls";
import {
  ERROR_KINDS,
  TrineError,
  abortError,
  errnoOf,
  messageOf,
  printable,
  readAtMost,
} from "@trine/base";
import type { ErrorKind } from "@trine/base";
import * as v from "valibot";
import type { DoorOptions } from "./node-door.ts";

export const DEFAULT_PORT = 10_270;
/** Of the protocol of streams. */
export const STREAM_PROTOCOL = "trine-stream";
/** Requests wait for a node that does no more than read its memory and ask its guest. */
const ANSWER_MS = 30_000;
const MAX_SOCKETS = 4;
const MAX_ERROR_BYTES = 16 * 1024;
const MAX_MESSAGE = 1_024;

const refusalSchema = v.object({ kind: v.picklist(ERROR_KINDS), message: v.string() });

/** For answers that are not the node's own words. */
const KIND_OF_STATUS: Readonly<Record<number, ErrorKind>> = {
  400: "invalid",
  403: "forbidden",
  404: "notFound",
  409: "wrongState",
  429: "exhausted",
  503: "unavailable",
  504: "timeout",
};

export interface Asked {
  readonly method: "GET" | "PUT";
  readonly path: string;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  /** Of a whole answer that takes longer than most. */
  readonly ms?: number;
}

/** Requests to one node over TLS 1.3, both sides named by certificates. Every failure is a TrineError. */
export class DoorRequests {
  readonly #options: DoorOptions;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS });
  readonly #closed = new AbortController();

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  /** A whole answer of at most `maxBytes`. */
  async bytes(asked: Asked, maxBytes: number): Promise<Buffer> {
    const late = AbortSignal.timeout(asked.ms ?? ANSWER_MS);
    const signal = this.#until(asked.signal, late);
    return this.#during(asked, signal, async () => {
      const response = await this.#respond(asked, signal);
      return readAll(response, maxBytes);
    });
  }

  /** The answer while it comes, which has no deadline once it begins; its reader destroys it. */
  async open(asked: Asked): Promise<IncomingMessage> {
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort(new TrineError("timeout", `no answer within ${ANSWER_MS} ms`));
    }, ANSWER_MS);
    const signal = this.#until(asked.signal, late.signal);
    try {
      return await this.#during(asked, signal, () => this.#respond(asked, signal));
    } finally {
      clearTimeout(timer);
    }
  }

  /** The bytes of an upgraded connection; its reader destroys it. */
  async stream(path: string, given?: AbortSignal): Promise<Duplex> {
    const asked: Asked = { method: "GET", path };
    const late = AbortSignal.timeout(ANSWER_MS);
    const signal = this.#until(given, late);
    return this.#during(asked, signal, () => this.#upgrade(asked, signal));
  }

  close(): void {
    this.#closed.abort(new TrineError("canceled", "the door was closed"));
    this.#agent.destroy();
  }

  #until(...signals: (AbortSignal | undefined)[]): AbortSignal {
    return AbortSignal.any([this.#closed.signal, ...signals.filter((each) => each !== undefined)]);
  }

  async #during<T>(asked: Asked, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const doing = `node ${this.#options.node}: ${asked.method} ${asked.path.split("?", 1)[0] ?? ""}`;
    try {
      signal.throwIfAborted();
      return await work();
    } catch (cause) {
      if (signal.aborted) throw abortError(doing, signal);
      throw TrineError.during(doing, cause instanceof TrineError ? cause : this.#failed(cause));
    }
  }

  #failed(cause: unknown): TrineError {
    // A node that refuses a certificate that has ended says nothing: it hangs up.
    const over = errnoOf(cause) === "ECONNRESET" ? this.#ended() : undefined;
    if (over === undefined) return ofConnection(cause);
    return new TrineError("forbidden", `our own certificate has expired: ${over}`, { cause });
  }

  /** When our own certificate ended, where it has. */
  #ended(): string | undefined {
    const { certificate } = this.#options.credentials();
    if (certificate === "") return undefined;
    const { validTo, validToDate } = new X509Certificate(certificate);
    return validToDate.getTime() < Date.now() ? validTo : undefined;
  }

  #respond(asked: Asked, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const sent = this.#send(asked, signal, { agent: this.#agent });
      sent.on("error", reject);
      sent.on("response", (response) => {
        if (response.statusCode === 200) resolve(response);
        else refusal(response).then(reject, reject);
      });
    });
  }

  #upgrade(asked: Asked, signal: AbortSignal): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const headers = { connection: "Upgrade", upgrade: STREAM_PROTOCOL };
      // The signal is of the answer alone: it would end the stream with the deadline.
      const sent = this.#send(asked, undefined, { agent: false, headers });
      const onAbort = (): void => {
        sent.destroy(signal.reason as Error);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      sent.on("close", () => {
        signal.removeEventListener("abort", onAbort);
      });
      sent.on("error", reject);
      sent.on("response", (response) => {
        refusal(response).then(reject, reject);
      });
      sent.on("upgrade", (_response, socket, head) => {
        signal.removeEventListener("abort", onAbort);
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      });
    });
  }

  #send(
    { method, path, body }: Asked,
    signal: AbortSignal | undefined,
    more: RequestOptions,
  ): ClientRequest {
    const { node, host, port = DEFAULT_PORT } = this.#options;
    const { certificate, key, authority } = this.#options.credentials();
    const text = body === undefined ? undefined : JSON.stringify(body);
    const sent = httpsRequest({
      ...more,
      ...(signal === undefined ? {} : { signal }),
      ...{ method, path, host, port, cert: certificate, key, ca: authority },
      minVersion: "TLSv1.3",
      // A name that looks like an address is not allowed there; who the node is gets checked below.
      servername: isIP(node) === 0 ? node : "",
      checkServerIdentity: (_host: string, peer: PeerCertificate) => checkNode(node, peer),
      allowHalfOpen: true,
      headers: {
        ...(text === undefined ? {} : { "content-type": "application/json" }),
        ...(more.headers as Record<string, string> | undefined),
      },
    } as RequestOptions);
    sent.end(text);
    return sent;
  }
}

/** The authority signs certificates of others too: only the node's own will do. */
function checkNode(node: string, peer: PeerCertificate): Error | undefined {
  const name = String(peer.subject.CN);
  if (name !== `trine-node:${node}`) {
    const shown = printable(name, 100);
    return new TrineError("forbidden", `its certificate is ${shown}, not trine-node:${node}`);
  }
  return checkServerIdentity(node, peer);
}

function readAll(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const why = `an answer of more than ${maxBytes} bytes`;
  return readAtMost(response, maxBytes, () => new TrineError("malformed", why));
}

async function refusal(response: IncomingMessage): Promise<TrineError> {
  const status = response.statusCode ?? 0;
  const body = await readAll(response, MAX_ERROR_BYTES);
  const said = v.safeParse(refusalSchema, parseJson(body));
  if (said.success) {
    return new TrineError(said.output.kind, printable(said.output.message, MAX_MESSAGE));
  }
  const kind = KIND_OF_STATUS[status] ?? "malformed";
  return new TrineError(kind, `answered ${status} without a reason`);
}

/** Undefined for what is no JSON. */
function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
}

/** Alerts of the peer that does not accept our certificate, and what we do not accept of its. */
function ofConnection(cause: unknown): TrineError {
  const code = errnoOf(cause) ?? "";
  const isTls = /^(ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME)/.test(code);
  const kind = isTls ? "forbidden" : "unavailable";
  return new TrineError(kind, printable(messageOf(cause), MAX_MESSAGE), { cause });
}
