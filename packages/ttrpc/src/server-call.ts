import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMethod, Message } from "@bufbuild/protobuf";
import { TrineError, kindOf } from "@trine/base";
import { RequestSchema } from "@trine/proto/ttrpc";
import type { Request } from "@trine/proto/ttrpc";
import type { CallContext } from "./service-types.ts";

export type Handler = (request: Message, context: CallContext) => Promise<Message>;

/** A method with its handler, found by the names on the wire. */
export interface Route {
  readonly method: DescMethod;
  readonly handler: Handler;
}

/** Which call failed; without names when the connection itself did. */
export interface CallName {
  readonly service?: string;
  readonly method?: string;
}

export type ErrorListener = (error: unknown, call: CallName) => void;

const NS_PER_MS = 1_000_000n;
/** The longest a timer can wait; a longer deadline is none. */
const MAX_TIMER_MS = 0x7fff_ffff;

export function decodeRequest(body: Uint8Array): Request {
  try {
    return fromBinary(RequestSchema, body);
  } catch (cause) {
    throw new TrineError("malformed", "request envelope cannot be read", { cause });
  }
}

/** Runs the handler; rejects at the deadline even when the handler goes on. */
export async function runCall(
  route: Route | undefined,
  request: Request,
  abort: AbortController,
  onError: ErrorListener,
): Promise<Uint8Array> {
  const name = `${request.service}/${request.method}`;
  if (route === undefined) throw new TrineError("unimplemented", `${name} is not known here`);
  const { method, handler } = route;
  const input = decodeInput(name, method, request.payload);
  const ms = timeoutMs(request);
  const context: CallContext = {
    signal: abort.signal,
    metadata: metadataOf(request),
    deadline: ms === undefined ? undefined : new Date(Date.now() + ms),
  };
  const work = handler(input, context).then((output) =>
    toBinary(method.output, create(method.output, output)),
  );
  if (ms === undefined) return work;
  return untilDeadline(work, ms, abort, (cause) => {
    if (kindOf(cause) === "internal") onError(cause, request);
  });
}

async function untilDeadline(
  work: Promise<Uint8Array>,
  ms: number,
  abort: AbortController,
  onLateFailure: (cause: unknown) => void,
): Promise<Uint8Array> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const error = new TrineError("timeout", `deadline of ${ms} ms exceeded`);
    reject(error);
    abort.abort(error);
    work.catch(onLateFailure);
  }, ms);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function decodeInput(name: string, method: DescMethod, payload: Uint8Array): Message {
  try {
    return fromBinary(method.input, payload);
  } catch (cause) {
    throw new TrineError("malformed", `${name}: request cannot be read`, { cause });
  }
}

function timeoutMs(request: Request): number | undefined {
  if (request.timeoutNano === 0n) return undefined;
  const ms = Number(request.timeoutNano / NS_PER_MS);
  return ms > MAX_TIMER_MS ? undefined : Math.max(ms, 0);
}

function metadataOf(request: Request): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  for (const { key, value } of request.metadata) {
    const name = key.toLowerCase();
    if (!metadata.has(name)) metadata.set(name, value);
  }
  return metadata;
}
