import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { TrineError } from "@trine/base";
import type { VirtApiDeps } from "../deps.ts";
import type { Answer } from "../http/answer.ts";
import { parseTarget } from "../http/target.ts";
import { STREAMS } from "../streams/open-stream.ts";
import { type Upgrades, requireHandshake } from "../streams/upgrades.ts";
import { type Access, admitted, keyOf, serveSubresource } from "./serve-subresource.ts";
import { urlOf } from "./url-of.ts";

/** From the request to the machine's first byte. */
const OPEN_MS = 10_000;

export interface UpgradeRequest {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/**
 * Serves a request to become a stream, until that ends. Everything is decided, and the machine's end is open, before
 * the client is told that it has one: what is wrong, or wants no stream, is an HTTP answer for the caller to send.
 */
export async function serveStream(
  deps: VirtApiDeps,
  access: Access,
  upgrades: Upgrades,
  { request, socket, head }: UpgradeRequest,
): Promise<Answer | undefined> {
  const { path, query } = urlOf(request);
  const target = parseTarget(path);
  if (target === undefined) throw new TrineError("notFound", "there is no such stream");
  const left = new AbortController();
  socket.once("close", () => {
    left.abort(new TrineError("canceled", "the client left"));
  });
  const user = await admitted(access, request, target);
  const call = { target, query, body: new Uint8Array() };
  const open = STREAMS.get(keyOf(target));
  if (open === undefined) {
    return serveSubresource(deps, request.method ?? "", { ...call, signal: left.signal });
  }
  requireHandshake(request);
  const release = upgrades.reserve(user.name);
  try {
    const opened = await inTime(left.signal, (signal) => open(deps, { ...call, signal }));
    const { subresource, namespace, name } = target;
    const over = deps.onStream?.({ subresource, namespace, name });
    await upgrades.serve(request, socket, head, opened).finally(over);
    return undefined;
  } finally {
    release();
  }
}

/** Gives the work a deadline that ends with it: the stream it opens goes on. */
async function inTime<T>(left: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort(new TrineError("timeout", `the machine's node did not answer within ${OPEN_MS} ms`));
  }, OPEN_MS);
  try {
    return await work(AbortSignal.any([left, late.signal]));
  } finally {
    clearTimeout(timer);
  }
}
