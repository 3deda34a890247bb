import type { Answer } from "../http/answer.ts";
import type { Target } from "../http/target.ts";
import type { VirtApiDeps } from "../deps.ts";

/** A request for a subresource whose sender may ask for it. */
export interface Call {
  readonly target: Target;
  readonly query: URLSearchParams;
  /** Read whole; empty where none came. */
  readonly body: Uint8Array;
  readonly signal: AbortSignal;
}

export type Handle = (deps: VirtApiDeps, call: Call) => Promise<Answer>;
