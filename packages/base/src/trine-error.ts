/** The closed list of failure kinds; every boundary maps all of them (`Record<ErrorKind, …>`). */
export const ERROR_KINDS = [
  "malformed",
  "invalid",
  "unauthenticated",
  "forbidden",
  "notFound",
  "alreadyExists",
  "conflict",
  "wrongState",
  "expired",
  "exhausted",
  "unimplemented",
  "unavailable",
  "timeout",
  "canceled",
  "internal",
] as const;

export type ErrorKind = (typeof ERROR_KINDS)[number];

/** A failure the caller can act on. Anything else we throw is a bug and becomes `internal`. */
export class TrineError extends Error {
  override readonly name = "TrineError";
  readonly kind: ErrorKind;

  constructor(kind: ErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }

  /** Says what we were doing and keeps the kind, so the boundary still gives the right answer. */
  static during(doing: string, cause: unknown): TrineError {
    return new TrineError(kindOf(cause), `${doing}: ${messageOf(cause)}`, { cause });
  }
}

/** The kind of anything thrown: ours as it is, time-outs and aborts by name, the rest `internal`. */
export function kindOf(cause: unknown): ErrorKind {
  if (cause instanceof TrineError) return cause.kind;
  const name = cause instanceof Error ? cause.name : "";
  return name === "TimeoutError" ? "timeout" : name === "AbortError" ? "canceled" : "internal";
}

export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
