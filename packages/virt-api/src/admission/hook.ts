import type { VirtApiDeps } from "../deps.ts";
import type { AdmissionRequest, Verdict } from "./review.ts";

/** Judges or fills in one write. What it throws is a failure of ours: the API server does as the hook's failure policy says. */
export type Admit = (
  deps: VirtApiDeps,
  request: AdmissionRequest,
  signal: AbortSignal,
) => Promise<Verdict> | Verdict;

/** A webhook as the API server is told of it. */
export interface Hook {
  readonly name: string;
  readonly path: string;
  readonly type: "mutating" | "validating";
  readonly group: string;
  readonly version: string;
  readonly resources: readonly string[];
  readonly operations: readonly ("CREATE" | "UPDATE")[];
  /** Whether a write goes on while we are away. */
  readonly whenAway: "Fail" | "Ignore";
  readonly sideEffects: "None" | "NoneOnDryRun";
  /** Not asked about what trine-control writes beside the spec: it would be allowed, at two calls for each change of a status. */
  readonly isSparingControl?: true;
  readonly admit: Admit;
}
