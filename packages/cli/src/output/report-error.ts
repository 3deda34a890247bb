import { TrineError, kindOf, messageOf } from "@trine/base";
import type { ErrorKind } from "@trine/base";
import { EXIT_CODES } from "../io.ts";
import type { ErrorForm, Io } from "../io.ts";
import { printable } from "./table.ts";

/** metav1.Status of a failure, as Kubernetes and its clients know it. */
interface StatusDocument {
  readonly kind: "Status";
  readonly apiVersion: "v1";
  readonly metadata: Record<string, never>;
  readonly status: "Failure";
  readonly message: string;
  /** One word for programs. */
  readonly reason: string;
  readonly details: {
    /** `ExitCode`: what the program ends with, where this is the first failure. */
    readonly causes: readonly { readonly reason: "ExitCode"; readonly message: string }[];
  };
  /** The HTTP status that an API server would give. */
  readonly code: number;
}

const REASONS: Record<ErrorKind, readonly [reason: string, code: number]> = {
  malformed: ["BadRequest", 400],
  invalid: ["Invalid", 422],
  unauthenticated: ["Unauthorized", 401],
  forbidden: ["Forbidden", 403],
  notFound: ["NotFound", 404],
  alreadyExists: ["AlreadyExists", 409],
  conflict: ["Conflict", 409],
  wrongState: ["Conflict", 409],
  expired: ["Expired", 410],
  exhausted: ["RequestEntityTooLarge", 413],
  unimplemented: ["MethodNotAllowed", 405],
  unavailable: ["ServiceUnavailable", 503],
  timeout: ["Timeout", 504],
  canceled: ["Canceled", 499],
  internal: ["InternalError", 500],
};

/** The form a command line asks for by -o, also one that is wrong elsewhere; what follows -- is another program's. */
export function errorFormOf(argv: readonly string[]): ErrorForm {
  const end = argv.indexOf("--");
  const own = end < 0 ? argv : argv.slice(0, end);
  let form: ErrorForm = "text";
  own.forEach((word, index) => {
    const match = /^(?:--output(?:=(.*))?|-o(.*))$/.exec(word);
    if (match === null) return;
    const value = (match[1] ?? match[2]) || own[index + 1];
    form = value === "json" || value === "yaml" ? value : "text";
  });
  return form;
}

/** Tells one failure on stderr; `cause` of anything thrown. */
export async function reportError(
  io: Pick<Io, "stderr" | "errorForm">,
  cause: unknown,
): Promise<void> {
  if (io.errorForm === "text") {
    const lines = messageOf(cause).trimEnd().split("\n");
    io.stderr.write(`trine: ${lines.map(printable).join("\n")}\n`);
    return;
  }
  const status = statusOf(cause);
  if (io.errorForm === "json") {
    io.stderr.write(`${JSON.stringify(status)}\n`);
    return;
  }
  const { toYaml } = await import("./to-yaml.ts");
  io.stderr.write(`---\n${toYaml(status)}`);
}

function statusOf(cause: unknown): StatusDocument {
  const kind = kindOf(cause);
  const [reason, code] = REASONS[kind];
  return {
    ...{ kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure" },
    ...{ message: messageOf(cause).trim(), reason, code },
    details: { causes: [{ reason: "ExitCode", message: String(EXIT_CODES[kind]) }] },
  };
}

/** What commander has refused, in its own words. */
export function usageError(message: string): TrineError {
  const words = message.replace(/^error: /, "").trim();
  return new TrineError("invalid", words.startsWith("(") ? "a command is wanted" : words);
}
