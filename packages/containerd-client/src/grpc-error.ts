import { type ErrorKind, TrineError } from "@trine/base";
import { type ServiceError, status } from "@grpc/grpc-js";

/** Every gRPC status but OK, as the kind a caller acts on (style: one mapping per boundary). */
const KIND_OF_STATUS: Record<Exclude<keyof typeof status, "OK">, ErrorKind> = {
  CANCELLED: "canceled",
  UNKNOWN: "internal",
  INVALID_ARGUMENT: "invalid",
  DEADLINE_EXCEEDED: "timeout",
  NOT_FOUND: "notFound",
  ALREADY_EXISTS: "alreadyExists",
  PERMISSION_DENIED: "forbidden",
  RESOURCE_EXHAUSTED: "exhausted",
  FAILED_PRECONDITION: "wrongState",
  ABORTED: "conflict",
  OUT_OF_RANGE: "expired",
  UNIMPLEMENTED: "unimplemented",
  INTERNAL: "internal",
  UNAVAILABLE: "unavailable",
  DATA_LOSS: "internal",
  UNAUTHENTICATED: "unauthenticated",
};

/** The error of a failed call, with the method and the server's own words in the message. */
export function toTrineError(method: string, cause: ServiceError): TrineError {
  const name = status[cause.code] as keyof typeof status | undefined;
  const kind = name === undefined || name === "OK" ? "internal" : KIND_OF_STATUS[name];
  return new TrineError(kind, `${method}: ${cause.details || cause.message}`, { cause });
}
