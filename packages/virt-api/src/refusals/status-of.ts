import { type ErrorKind, kindOf, messageOf } from "@trine/base";
import { Refusal, type Status } from "./refusal.ts";

const ANSWERS: Readonly<Record<ErrorKind, readonly [code: number, reason: string]>> = {
  malformed: [400, "BadRequest"],
  invalid: [422, "Invalid"],
  unauthenticated: [401, "Unauthorized"],
  forbidden: [403, "Forbidden"],
  notFound: [404, "NotFound"],
  alreadyExists: [409, "AlreadyExists"],
  conflict: [409, "Conflict"],
  wrongState: [409, "Conflict"],
  expired: [410, "Expired"],
  exhausted: [429, "TooManyRequests"],
  unimplemented: [405, "MethodNotAllowed"],
  unavailable: [503, "ServiceUnavailable"],
  timeout: [504, "Timeout"],
  canceled: [499, "Timeout"],
  internal: [500, "InternalError"],
};

/** How anything thrown is told to a client. What is no failure of ours or the client's stays in the log: it may name what is inside. */
export function statusOf(cause: unknown): Status {
  if (cause instanceof Refusal) return cause.status;
  const kind = kindOf(cause);
  const [code, reason] = ANSWERS[kind];
  const message =
    kind === "internal" ? "Internal error occurred: it is in virt-api's log" : messageOf(cause);
  return { ...new Refusal(kind, { code, reason, message }).status };
}
