import type { IncomingMessage } from "node:http";
import { JsonLines, TrineError, abortError } from "@trine/base";
import { failure, watchFailure } from "./answers.ts";
import { isObject, listedObject } from "./decode.ts";
import type { WatchEvent } from "./kube-api.ts";
import type { KubeObject } from "./object.ts";
import type { Resource } from "./resource.ts";
import { unreachable } from "./transport.ts";

/** An event has one object, which etcd holds to 1.5 MiB; escapes make its text longer. */
const LIMITS = { maxLineBytes: 16 * 1024 * 1024, maxDepth: 256 };
const MAX_ERROR_BYTES = 64 * 1024;

/** Reads a watch's lines one by one. A line that cannot be read ends it: what it said is not known. */
export async function* readWatch<T extends KubeObject>(
  resource: Resource<T>,
  of: {
    readonly what: string;
    readonly response: IncomingMessage;
    readonly signal: AbortSignal;
  },
): AsyncGenerator<WatchEvent<T>> {
  const { what, response, signal } = of;
  const lines = new JsonLines(LIMITS);
  try {
    if (response.statusCode !== 200) throw await refusal(what, response);
    for await (const chunk of response as AsyncIterable<Buffer>) {
      for (const line of lines.push(chunk)) {
        if ("error" in line) throw new TrineError("unavailable", `${what}: ${line.error.message}`);
        yield eventOf(resource, what, line.value);
      }
    }
  } catch (cause) {
    if (cause instanceof TrineError) throw cause;
    if (signal.aborted) throw abortError(what, signal);
    throw unreachable(what, cause);
  } finally {
    response.destroy();
  }
}

async function refusal(what: string, response: IncomingMessage): Promise<TrineError> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_ERROR_BYTES) break;
    chunks.push(chunk);
  }
  const answer = { code: response.statusCode ?? 0, headers: {}, body: Buffer.concat(chunks) };
  return failure({ method: "GET", path: what }, answer);
}

function eventOf<T extends KubeObject>(
  resource: Resource<T>,
  what: string,
  value: unknown,
): WatchEvent<T> {
  const { type, object } = isObject(value) ? value : {};
  switch (type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
      return { type, object: listedObject(resource, object) };
    case "BOOKMARK":
      return { type, resourceVersion: versionOf(what, object) };
    case "ERROR":
      throw watchFailure(what, object);
    default:
      throw new TrineError("unavailable", `${what}: an event of a type that is not known`);
  }
}

function versionOf(what: string, object: unknown): string {
  const metadata = isObject(object) ? object["metadata"] : undefined;
  const version = isObject(metadata) ? metadata["resourceVersion"] : undefined;
  if (typeof version === "string") return version;
  throw new TrineError("unavailable", `${what}: a bookmark without version`);
}
