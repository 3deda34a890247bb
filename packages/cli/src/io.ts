import type { Readable, Writable } from "node:stream";
import type { ErrorKind, OnRequest } from "@trine/base";
import type { Config } from "./config/read-config.ts";

/** How errors are told on stderr: as a line, or as the object that Kubernetes tells them by. */
export type ErrorForm = "text" | "json" | "yaml";

/** Everything a command may touch outside itself. */
export interface Io {
  /** A terminal's has `isTTY` and `setRawMode`. */
  readonly stdin: Readable & { isTTY?: boolean; setRawMode?(on: boolean): unknown };
  /** A terminal's has its size, and says `resize`. */
  readonly stdout: Writable & { isTTY?: boolean; columns?: number; rows?: number };
  readonly stderr: Writable & { isTTY?: boolean };
  /** State directory of the node daemon; gone after a reboot. */
  readonly stateDir: string;
  /** What must outlive a reboot: the definitions of pods started by hand, their logs and volumes. */
  readonly dataDir: string;
  /** containerd's socket. */
  readonly containerd: string;
  /** What holds where no flag says otherwise, the three above among it. */
  readonly config: Config;
  /** Aborts at ^C. */
  readonly signal: AbortSignal;
  /** As -o asks for it. */
  readonly errorForm: ErrorForm;
  /** Told of requests; -v shows them. */
  readonly onRequest: OnRequest;
}

/** What a command line is given; the rest of `Io` it says itself. */
export type Surroundings = Omit<Io, "errorForm" | "onRequest">;

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
