// What an answer of the API server means.
import { isObject } from "./decode.ts";
import type { JsonPatchOperation } from "./json-patch.ts";
import { StatusError, statusOf } from "./status-error.ts";
import type { HttpAnswer, HttpCall } from "./transport.ts";

const MAX_RETRY_AFTER_MS = 5_000;

export function failure(call: HttpCall, { code, body }: HttpAnswer): StatusError {
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    // A proxy's page: the code alone says what it is.
  }
  return new StatusError(`${call.method} ${call.path.split("?")[0] ?? ""}`, statusOf(code, value));
}

/** When to ask again, where the server is too busy and says for how long. */
export function retryAfterMs({ code, headers }: HttpAnswer): number | undefined {
  if (code !== 429 && code !== 503) return undefined;
  const seconds = Number(headers["retry-after"] ?? Number.NaN);
  const ms = seconds * 1000;
  return Number.isFinite(ms) && ms >= 0 && ms <= MAX_RETRY_AFTER_MS ? ms : undefined;
}

/**
 * A patch whose `test` fails is answered as 422 without causes, which an object that is refused always has. Whether it
 * was the `test` or a field that is not there: the object is not what the writer took it for.
 */
export function isFailedTest(
  { status }: StatusError,
  operations: readonly JsonPatchOperation[],
): boolean {
  const hasTest = operations.some(({ op }) => op === "test");
  return hasTest && status.code === 422 && status.causes.length === 0;
}

/** The `Status` in a watch's last word. */
export function watchFailure(what: string, object: unknown): StatusError {
  const code = isObject(object) && typeof object["code"] === "number" ? object["code"] : 500;
  return new StatusError(what, statusOf(code, object));
}
