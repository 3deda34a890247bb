import type { OnRequest } from "@trine/base";

/** What one check of `trine doctor` found. `warn` does not stop machines from running. */
export interface Finding {
  readonly name: string;
  readonly status: "ok" | "warn" | "fail";
  readonly detail: string;
  /** What to do about it. */
  readonly fix?: string;
}

/** Where the checks look. */
export interface Place {
  readonly stateDir: string;
  /** containerd's socket. */
  readonly containerd: string;
  /** QEMU's program. */
  readonly qemu: string;
  readonly onRequest?: OnRequest;
}

/** Looks, changes nothing. One that throws is a failed check. */
export interface Check {
  readonly name: string;
  readonly run: (place: Place, signal: AbortSignal) => Promise<Omit<Finding, "name">>;
}

export const UNTESTED = "untested on this kind of host";
