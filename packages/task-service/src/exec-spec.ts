import { TrineError } from "@trine/base";
import type { AddExec } from "@trine/engine";
import type { ExecProcessRequest } from "@trine/proto/task";

const MAX_ARGS = 4096;

/** Reads an exec's OCI Process (runtime-spec config.md "process"): JSON in the request's Any. */
export function toAddExec(request: ExecProcessRequest): AddExec {
  const spec = parse(request);
  return {
    id: request.id,
    execId: request.execId,
    terminal: request.terminal,
    stdin: request.stdin !== "",
    argv: strings(spec, "args", request.execId),
    env: strings(spec, "env", request.execId),
    process: request.spec?.value ?? new Uint8Array(),
  };
}

function parse(request: ExecProcessRequest): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(request.spec?.value));
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch (cause) {
    throw new TrineError("malformed", `exec ${request.execId}: its process is not JSON`, { cause });
  }
  throw new TrineError("malformed", `exec ${request.execId}: its process is not an object`);
}

function strings(
  spec: Readonly<Record<string, unknown>>,
  key: string,
  execId: string,
): readonly string[] {
  const value = spec[key] ?? [];
  if (
    Array.isArray(value) &&
    value.length <= MAX_ARGS &&
    value.every((item) => typeof item === "string")
  ) {
    return value;
  }
  throw new TrineError("malformed", `exec ${execId}: process.${key} is not a list of strings`);
}
