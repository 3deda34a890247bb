import type { ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { STATUS_CODES } from "node:http";
import type { Status } from "../refusals/refusal.ts";

/** What a request is answered with, unless it becomes a stream. */
export interface Answer {
  readonly code: number;
  readonly type: string;
  readonly body: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

/** For all answers: nobody keeps them, no browser guesses what they are. */
const HEADERS = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

export function json(value: unknown, code = 200): Answer {
  return { code, type: "application/json", body: JSON.stringify(value) };
}

export function text(body: string, code = 200): Answer {
  return { code, type: "text/plain; charset=utf-8", body };
}

/** Done or taken, with nothing to say about it. */
export function empty(code: 200 | 202): Answer {
  return { code, type: "text/plain; charset=utf-8", body: "" };
}

export function refused(status: Status): Answer {
  const seconds = status.details?.retryAfterSeconds;
  const headers = seconds === undefined ? {} : { headers: { "retry-after": String(seconds) } };
  return { ...json(status, status.code), ...headers };
}

export function send(response: ServerResponse, { code, type, body, headers }: Answer): void {
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  const about = { "content-type": type, "content-length": bytes.byteLength };
  response.writeHead(code, { ...HEADERS, ...headers, ...about }).end(bytes);
}

/** The same to who asked for an upgrade and gets none; the connection ends with it. */
export function sendRaw(socket: Duplex, { code, type, body, headers }: Answer): void {
  const bytes = Buffer.from(body);
  const all = {
    ...HEADERS,
    ...headers,
    "content-type": type,
    "content-length": bytes.byteLength,
    connection: "close",
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `HTTP/1.1 ${code} ${STATUS_CODES[code] ?? ""}\r\n${lines.join("")}\r\n`;
  socket.end(Buffer.concat([Buffer.from(head), bytes]));
}
