import type { MachineReport } from "@trine/node-door";

/** What a node has said of one pod's machine. */
export type Heard =
  /** Its door answers; without a report it knows no such machine (yet, or any more). */
  | { readonly node: "heard"; readonly report?: MachineReport }
  /** Its door does not answer; the last report, and since when. */
  | { readonly node: "lost"; readonly since: Date; readonly report?: MachineReport };
