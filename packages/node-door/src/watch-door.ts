import type { IncomingMessage } from "node:http";
import { JsonLines, TrineError, messageOf, kindOf, printable, sleep } from "@trine/base";
import * as v from "valibot";
import { doorLineSchema } from "./door-event.ts";
import type { DoorEvent, DoorLine } from "./door-event.ts";
import type { DoorRequests } from "./door-requests.ts";

/** The node says that it lives every 5 s. */
const SILENCE_MS = 15_000;
const RETRY_MS = { first: 250, longest: 30_000 };
const MAX_DEPTH = 16;

interface Watched {
  readonly node: string;
  readonly maxLineBytes: number;
}

/** Connects until `signal` aborts; tells once of each loss, and everything anew after it. */
export async function* watchDoor(
  requests: DoorRequests,
  watched: Watched,
  signal: AbortSignal,
): AsyncGenerator<DoorEvent> {
  let isLost = false;
  for (
    let waitMs = RETRY_MS.first;
    !signal.aborted;
    waitMs = Math.min(2 * waitMs, RETRY_MS.longest)
  ) {
    let why: TrineError;
    try {
      for await (const line of linesOf(requests, watched, signal)) {
        if (line.type === "state") {
          isLost = false;
          waitMs = RETRY_MS.first;
        }
        if (line.type !== "alive") yield line;
      }
      why = new TrineError("unavailable", `node ${watched.node}: it ended the watch`);
    } catch (cause) {
      why = new TrineError(kindOf(cause), messageOf(cause), { cause });
    }
    if (isAborted(signal)) return;
    if (!isLost) yield { type: "lost", why };
    isLost = true;
    // Nodes that come back together are not to be asked together.
    await sleep(waitMs * (0.5 + Math.random() / 2), signal).catch(() => undefined);
  }
}

/** Ends with the connection. The first line is the state, or this throws. */
async function* linesOf(
  requests: DoorRequests,
  { node, maxLineBytes }: Watched,
  signal: AbortSignal,
): AsyncGenerator<DoorLine> {
  const response = await requests.open({ method: "GET", path: "/v1/machines?watch=true", signal });
  const lines = new JsonLines({ maxLineBytes, maxDepth: MAX_DEPTH });
  let isFirst = true;
  try {
    for await (const part of partsOf(response, node)) {
      for (const line of lines.push(part)) {
        if ("error" in line) throw TrineError.during(`node ${node}: watch`, line.error);
        const read = toLine(line.value, node);
        if (isFirst !== (read.type === "state")) {
          throw new TrineError("malformed", `node ${node}: a watch begins with its state, once`);
        }
        isFirst = false;
        yield read;
      }
    }
  } finally {
    response.destroy();
  }
}

/** Throws kind `unavailable` when the connection breaks, `timeout` when nothing comes. */
async function* partsOf(response: IncomingMessage, node: string): AsyncGenerator<Buffer> {
  response.setTimeout(SILENCE_MS, () => {
    const why = `node ${node}: nothing was heard for ${SILENCE_MS / 1_000} s`;
    response.destroy(new TrineError("timeout", why));
  });
  try {
    yield* response as AsyncIterable<Buffer>;
  } catch (cause) {
    if (cause instanceof TrineError) throw cause;
    const why = `node ${node}: ${printable(messageOf(cause), 200)}`;
    throw new TrineError("unavailable", why, { cause });
  }
}

function toLine(value: unknown, node: string): DoorLine {
  const result = v.safeParse(doorLineSchema, value, { abortEarly: true });
  if (result.success) return result.output;
  const why = v.summarize(result.issues).slice(0, 300);
  throw new TrineError("malformed", `node ${node}: a line of the watch: ${why}`);
}

function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
