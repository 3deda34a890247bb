import { type ErrorKind, TrineError } from "@trine/base";

/** gRPC's status codes by number, each as the kind a caller acts on (style: one mapping per boundary). */
const KINDS: readonly ErrorKind[] = [
  "internal", // 0 is OK, and no error
  "canceled",
  "internal", // unknown
  "invalid",
  "timeout",
  "notFound",
  "alreadyExists",
  "forbidden",
  "exhausted",
  "wrongState", // failed precondition
  "conflict", // aborted
  "expired", // out of range
  "unimplemented",
  "internal",
  "unavailable",
  "internal", // data loss
  "unauthenticated",
];

/** The error of a failed call, with the method and the server's own words in the message. */
export function grpcError(method: string, status: number, words: string): TrineError {
  return new TrineError(KINDS[status] ?? "internal", `${method}: ${words || `status ${status}`}`);
}

/** A `grpc-message`: percent-encoded UTF-8. */
export function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // as it came is better than nothing
  }
}
