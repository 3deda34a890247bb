import { TrineError } from "@trine/base";
import type { ErrorKind } from "@trine/base";

/** Everything a command may touch outside itself. */
export interface Io {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** State directory of the node daemon. */
  readonly stateDir: string;
  readonly signal: AbortSignal;
}

/** Exit codes (reference in docs/reference/cli.md). */
export const EXIT_CODES: Record<ErrorKind, number> = {
  malformed: 2,
  invalid: 2,
  notFound: 3,
  expired: 3,
  timeout: 4,
  alreadyExists: 5,
  conflict: 5,
  wrongState: 5,
  forbidden: 6,
  unauthenticated: 6,
  unavailable: 7,
  exhausted: 1,
  unimplemented: 1,
  internal: 1,
  canceled: 130,
};

/** Columns padded to their widest cell, two spaces apart. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((cell, column) =>
    Math.max(cell.length, ...rows.map((row) => (row[column] ?? "").length)),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return [header, ...rows].map(line).join("\n") + "\n";
}

export function parseOutput(value: string): "table" | "json" {
  if (value === "table" || value === "json") return value;
  throw new TrineError("invalid", `-o ${value}: use table or json`);
}
