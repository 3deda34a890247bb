import { type ErrorKind, TrineError } from "@trine/base";

/** One reason why an object was refused, as in `details.causes`. */
export interface StatusCause {
  readonly reason?: string;
  readonly message?: string;
  readonly field?: string;
}

/** The API server's `Status`, as far as it is read. */
export interface Status {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
  readonly causes: readonly StatusCause[];
  readonly retryAfterMs: number | undefined;
}

/** A failure that the API server answered. */
export class StatusError extends TrineError {
  readonly status: Status;

  constructor(doing: string, status: Status, kind: ErrorKind = kindOfStatus(status)) {
    super(kind, `${doing}: ${status.message}`);
    this.status = status;
  }
}

const REASONS: Readonly<Record<string, ErrorKind>> = {
  BadRequest: "malformed",
  Unauthorized: "unauthenticated",
  Forbidden: "forbidden",
  NotFound: "notFound",
  AlreadyExists: "alreadyExists",
  Conflict: "conflict",
  Invalid: "invalid",
  Gone: "expired",
  Expired: "expired",
  TooManyRequests: "exhausted",
  RequestEntityTooLarge: "invalid",
  MethodNotAllowed: "unimplemented",
  NotAcceptable: "unimplemented",
  UnsupportedMediaType: "unimplemented",
  ServerTimeout: "unavailable",
  ServiceUnavailable: "unavailable",
  StoreReadError: "unavailable",
  Timeout: "timeout",
  InternalError: "unavailable",
};

const CODES: Readonly<Record<number, ErrorKind>> = {
  400: "malformed",
  401: "unauthenticated",
  403: "forbidden",
  404: "notFound",
  405: "unimplemented",
  409: "conflict",
  410: "expired",
  413: "invalid",
  415: "unimplemented",
  422: "invalid",
  429: "exhausted",
  504: "timeout",
};

/** By its reason, and by its code where the reason is none we know. All others may pass: `unavailable`. */
function kindOfStatus({ code, reason }: Status): ErrorKind {
  return REASONS[reason] ?? CODES[code] ?? "unavailable";
}

const MAX_MESSAGE = 2048;
const MAX_CAUSES = 64;

/** Reads a body that should be a `Status`; whatever it is, there is a Status afterwards. */
export function statusOf(code: number, body: unknown): Status {
  const fields = fieldsOf(body);
  const details = fieldsOf(fields["details"]);
  const causes = Array.isArray(details["causes"]) ? details["causes"] : [];
  const seconds = details["retryAfterSeconds"];
  const { message, reason, code: own } = fields;
  const said = typeof message === "string" && message !== "" ? message : `HTTP status ${code}`;
  return {
    code: code === 200 && typeof own === "number" ? own : code,
    reason: typeof reason === "string" ? reason : "",
    message: said.length > MAX_MESSAGE ? `${said.slice(0, MAX_MESSAGE)} …` : said,
    causes: causes.slice(0, MAX_CAUSES).map((cause) => fieldsOf(cause) as StatusCause),
    retryAfterMs: typeof seconds === "number" ? seconds * 1000 : undefined,
  };
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
