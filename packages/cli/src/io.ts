import type { Readable, Writable } from "node:stream";
import type { ErrorKind } from "@trine/base";

/** Everything a command may touch outside itself. */
export interface Io {
  /** A terminal's has `isTTY` and `setRawMode`. */
  readonly stdin: Readable & { isTTY?: boolean; setRawMode?(on: boolean): unknown };
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** State directory of the node daemon. */
  readonly stateDir: string;
  /** Aborts at ^C. */
  readonly signal: AbortSignal;
}

/** Exit codes; docs/reference/cli.md lists them. */
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
