import type { IncomingMessage } from "node:http";
import { TrineError, readAtMost } from "@trine/base";
import { Refusal } from "../refusals/refusal.ts";

/** A client that sends its body for longer sends for its own sake. */
const BODY_MS = 60_000;

/** The whole body of a request. Rejects with 413 as soon as more than `maxBytes` are there or announced. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const late = setTimeout(() => {
    request.destroy(new TrineError("timeout", `the body was not there within ${BODY_MS} ms`));
  }, BODY_MS);
  try {
    return await readAtMost(request, maxBytes, () => tooLarge(maxBytes));
  } catch (cause) {
    if (cause instanceof TrineError) throw cause;
    throw new TrineError("canceled", "the client left while it sent its body", { cause });
  } finally {
    clearTimeout(late);
  }
}

function tooLarge(maxBytes: number): Refusal {
  const message = `Request entity too large: limit is ${maxBytes}`;
  return new Refusal("malformed", { code: 413, reason: "RequestEntityTooLarge", message });
}
