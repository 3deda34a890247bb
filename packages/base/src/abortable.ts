import { TrineError, kindOf, messageOf } from "./trine-error.ts";

/** Why `what` was given up: the reason's kind, and `canceled` for reasons that have none. */
export function abortError(what: string, signal: AbortSignal): TrineError {
  const cause: unknown = signal.reason;
  const kind = kindOf(cause);
  return new TrineError(kind === "internal" ? "canceled" : kind, `${what}: ${messageOf(cause)}`, {
    cause,
  });
}

/** Rejects with `abortError` as soon as `signal` aborts; the work itself goes on unseen. */
export async function abortable<T>(
  what: string,
  signal: AbortSignal,
  work: Promise<T>,
): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => {
    reject(abortError(what, signal));
  };
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
