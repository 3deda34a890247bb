import { TrineError, kindOf, messageOf } from "@trine/base";
import type { ErrorKind } from "@trine/base";

/** gRPC status codes (google.rpc.Code), the only error codes ttrpc has. */
const CODE_OF: Readonly<Record<ErrorKind, number>> = {
  canceled: 1,
  malformed: 3,
  invalid: 3,
  timeout: 4,
  notFound: 5,
  alreadyExists: 6,
  forbidden: 7,
  exhausted: 8,
  wrongState: 9,
  conflict: 10,
  expired: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
};

/** Unknown (2), DataLoss (15) and numbers nobody has defined are the peer's bugs: `internal`. */
const KIND_OF: ReadonlyMap<number, ErrorKind> = new Map<number, ErrorKind>([
  ...Object.entries(CODE_OF).map(([kind, code]): [number, ErrorKind] => [code, kind as ErrorKind]),
  [3, "invalid"],
]);

/** What the client is told: an internal failure keeps its detail on this side. */
export function toStatus(cause: unknown): { readonly code: number; readonly message: string } {
  const kind = kindOf(cause);
  return {
    code: CODE_OF[kind],
    message: kind === "internal" ? "internal error" : messageOf(cause),
  };
}

export function fromStatus(call: string, status: { code: number; message: string }): TrineError {
  const text = status.message === "" ? `failed with code ${status.code}` : status.message;
  return new TrineError(KIND_OF.get(status.code) ?? "internal", `${call}: ${text}`);
}
