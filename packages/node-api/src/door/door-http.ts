import type { IncomingMessage, ServerResponse } from "node:http";
import { TrineError, kindOf, readAtMost } from "@trine/base";
import type { ErrorKind } from "@trine/base";

const MAX_BODY = 4 * 1024;

export const STATUS: Readonly<Record<ErrorKind, number>> = {
  malformed: 400,
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  notFound: 404,
  alreadyExists: 409,
  conflict: 409,
  wrongState: 409,
  expired: 410,
  exhausted: 429,
  unimplemented: 501,
  unavailable: 503,
  timeout: 504,
  canceled: 499,
  internal: 500,
};

export function requireMethod(request: IncomingMessage, method: string): void {
  if (request.method === method) return;
  throw new TrineError("invalid", `that is asked with ${method}`);
}

export async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const body = await readAtMost(
    request,
    MAX_BODY,
    () => new TrineError("invalid", `a body of more than ${MAX_BODY} bytes`),
  );
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(body.toString("utf8"));
  } catch (cause) {
    throw new TrineError("malformed", "the body is not JSON", { cause });
  }
}

/** What the caller did wrong, or what of the machine: a bug's words stay here. */
export function refusalOf(cause: unknown): { kind: ErrorKind; message: string } {
  const kind = kindOf(cause);
  const isOurs = cause instanceof TrineError;
  return {
    kind,
    message: isOurs ? cause.message.slice(0, 1_000) : "it failed; see the node's log",
  };
}

export function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body)}\n`);
}
