import { TrineError, quote } from "@trine/base";
import * as v from "valibot";
import { UNSUPPORTED } from "./unsupported.ts";

const MAX_SHOWN = 20;

/** One thing that is wrong with a document; `path` as in `spec.containers[0].image`. */
export interface Problem {
  readonly path: string;
  readonly message: string;
}

/** Checks `value`; answers what it is, or every problem found. */
export function check<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
): { ok: v.InferOutput<S> } | { problems: readonly Problem[] } {
  const result = v.safeParse(schema, value);
  if (result.success) return { ok: result.output };
  return { problems: result.issues.map((issue) => toProblem(issue)) };
}

function toProblem(issue: v.BaseIssue<unknown>): Problem {
  const keys = (issue.path ?? []).map((part) => part.key as PropertyKey);
  const path = joinPath(keys);
  const last = String(keys.at(-1) ?? "");
  if (issue.type === "strict_object" && issue.expected === "never") {
    const why = Object.hasOwn(UNSUPPORTED, last) ? UNSUPPORTED[last] : undefined;
    return {
      path,
      message: why === undefined ? "no such field" : `not supported: ${why}`,
    };
  }
  if (issue.received === "undefined") return { path, message: "is missing" };
  const wrongType = issue.kind === "schema" && issue.message.startsWith("Invalid ");
  const expected = issue.expected ?? "something else";
  const message = wrongType
    ? `is ${shown(issue.received)}, wanted: ${expected}`
    : issue.message.replace(/^Invalid /, "invalid ");
  return { path, message };
}

function shown(received: string): string {
  return received.length > 60 ? `${received.slice(0, 60)}…` : received;
}

/** `spec.containers[0].env` */
function joinPath(keys: readonly PropertyKey[]): string {
  let path = "";
  for (const key of keys) {
    if (typeof key === "number") path += `[${key}]`;
    else if (/^[\w-]+$/.test(String(key))) path += path === "" ? String(key) : `.${String(key)}`;
    else path += `[${quote(String(key))}]`;
  }
  return path;
}

/** Kind `invalid`; names the document and each field. */
export function toError(what: string, problems: readonly Problem[]): TrineError {
  const lines = problems
    .slice(0, MAX_SHOWN)
    .map(({ path, message }) => (path === "" ? message : `${path}: ${message}`));
  const rest = problems.length - lines.length;
  if (rest > 0) lines.push(`and ${rest} more`);
  return new TrineError("invalid", `${what}: ${lines.join("; ")}`);
}
