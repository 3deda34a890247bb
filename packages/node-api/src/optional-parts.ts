import type { ViewFigures } from "./lxcfs-metrics.ts";

/** A pod of the CRI gateway's: where it went and by which rule, or why it was refused. */
export interface RouteSummary {
  readonly podNamespace: string;
  readonly name: string;
  readonly uid: string;
  /** Empty: it was refused. */
  readonly sandboxId: string;
  /** Empty: it was refused. */
  readonly backEnd: string;
  /** The handler its back end was asked for; empty: that back end's default. */
  readonly handler: string;
  /** The rule in words, or why it was refused. */
  readonly why: string;
  /** `made`: noted when it was made; `rules`: by the rules as they are now; `refused`. */
  readonly from: "made" | "rules" | "refused";
  readonly refusedAt?: string;
}

/** The CRI gateway of the node. */
export interface GatewaySummary {
  readonly socket: string;
  /** Why it does not serve; absent = it does. */
  readonly failure?: string;
  readonly backEnds: readonly {
    readonly name: string;
    readonly socket: string;
    /** Why it is not connected; absent = it is. */
    readonly down?: string;
  }[];
}

/** Parts that a node may do without: each is undefined there. */
export interface OptionalParts {
  readonly gateway?: GatewaySummary | undefined;
  readonly routes?: readonly RouteSummary[] | undefined;
  readonly lxcfs?: ViewFigures | undefined;
}
