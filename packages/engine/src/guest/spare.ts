import type { ShimLink } from "@trine/shim-client";

const NAME_DIGITS = 7;

/** The spares of one size as the node API shows them. */
export interface SpareSummary {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly wanted: number;
  readonly ready: number;
  /** Proportional set size of their shims, VMMs and file servers. */
  readonly heldBytes: number;
}

/** What became of pods that could have had one. */
export interface SpareClaims {
  readonly used: number;
  readonly missed: number;
  /** Claimed, but of no use to its pod, which booted its own guest. */
  readonly refused: number;
}

/** A shim without a pod, whose guest waits for one. */
export interface Spare {
  readonly name: string;
  readonly dir: string;
  readonly className: string;
  readonly key: string;
  readonly shim: ShimLink;
  pids: readonly number[];
}

/** Never used twice on a node's lifetime, in all likelihood; short, for socket paths. */
export function newName(): string {
  const digits = Array.from({ length: NAME_DIGITS }, () =>
    Math.floor(Math.random() * 36).toString(36),
  );
  return digits.join("");
}
