import type { IncomingHttpHeaders } from "node:http2";
import { TrineError, kindOf, messageOf } from "@trine/base";
import type { ErrorKind } from "@trine/base";

/** gRPC's status codes that the gateway decides by. */
export const CODE = {
  ok: 0,
  canceled: 1,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  resourceExhausted: 8,
  unimplemented: 12,
  unavailable: 14,
} as const;

const CODES: Readonly<Record<ErrorKind, number>> = {
  canceled: CODE.canceled,
  malformed: CODE.invalidArgument,
  invalid: CODE.invalidArgument,
  timeout: CODE.deadlineExceeded,
  notFound: CODE.notFound,
  alreadyExists: 6,
  forbidden: 7,
  exhausted: CODE.resourceExhausted,
  wrongState: 9,
  conflict: 10,
  expired: 11,
  unimplemented: CODE.unimplemented,
  internal: 13,
  unavailable: CODE.unavailable,
  unauthenticated: 16,
};

/** What HTTP says where no gRPC is spoken, as gRPC's own table has it. */
const HTTP_CODES: Readonly<Record<string, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: CODE.unimplemented,
  429: CODE.unavailable,
  502: CODE.unavailable,
  503: CODE.unavailable,
  504: CODE.unavailable,
};
const UNKNOWN = 2;

/** Trailers of an answer: `grpc-status`, perhaps `grpc-message` and `grpc-status-details-bin`, perhaps more. */
export type Trailers = Readonly<Record<string, string | string[]>>;

/** A call that a back end failed: its trailers, as they came, are the client's. */
export class BackEndFailure extends Error {
  override readonly name = "BackEndFailure";
  readonly code: number;
  readonly trailers: Trailers;
  /** The back end did not answer at all, or says that it cannot yet: it may have what was asked for. */
  readonly isAbsent: boolean;

  constructor(code: number, trailers: Trailers, isAbsent = code === CODE.unavailable) {
    super(`status ${code}: ${decodeMessage(String(trailers["grpc-message"] ?? ""))}`);
    this.code = code;
    this.trailers = trailers;
    this.isAbsent = isAbsent;
  }

  static absent(words: string): BackEndFailure {
    return new BackEndFailure(CODE.unavailable, trailersOf(CODE.unavailable, words));
  }
}

export function trailersOf(code: number, words = ""): Trailers {
  const status = { "grpc-status": String(code) };
  return words === "" ? status : { ...status, "grpc-message": encodeMessage(words) };
}

/** What a client is told of anything thrown. */
export function failureTrailers(cause: unknown): Trailers {
  if (cause instanceof BackEndFailure) return cause.trailers;
  return trailersOf(CODES[kindOf(cause)], messageOf(cause));
}

export function codeOf(trailers: Trailers): number {
  const code = Number(trailers["grpc-status"]);
  return Number.isInteger(code) && code >= 0 ? code : UNKNOWN;
}

/** The code of an answer without a `grpc-status`: of its HTTP status, `unknown` where that says nothing. */
export function httpCode(status: number | undefined): number {
  return HTTP_CODES[String(status)] ?? UNKNOWN;
}

const NONE: ReadonlySet<string> = new Set();

/** Headers without HTTP/2's own and those `without`; a name said twice is kept so. */
export function metadataOf(
  headers: IncomingHttpHeaders,
  without = NONE,
): Record<string, string | string[]> {
  const metadata: Record<string, string | string[]> = {};
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || name.startsWith(":") || without.has(name)) continue;
    metadata[name] = value;
  }
  return metadata;
}

/** Percent-encoding of a `grpc-message`: printable ASCII but `%` stays. */
function encodeMessage(words: string): string {
  return words.replace(/[^\x20-\x24\x26-\x7e]/gu, (char) =>
    [...Buffer.from(char)]
      .map((byte) => `%${byte.toString(16).padStart(2, "0").toUpperCase()}`)
      .join(""),
  );
}

function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // as it came is better than nothing
  }
}

/** `grpc-timeout` in milliseconds; undefined = no deadline. Kind `malformed` when it is no such text. */
export function timeoutMs(header: string | string[] | undefined): number | undefined {
  if (header === undefined) return undefined;
  const match = /^(\d{1,8})([HMSmun])$/.exec(String(header));
  if (match === null) throw new TrineError("malformed", "grpc-timeout is eight digits and a unit");
  const unit = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 }[match[2] as "H"];
  return Number(match[1]) * unit;
}

/** Of what is left of a deadline: at least a millisecond, at most eight digits. */
export function timeoutHeader(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms));
  return whole < 1e8 ? `${whole}m` : `${Math.min(99_999_999, Math.ceil(whole / 1000))}S`;
}
