import type { TrineError } from "@trine/base";
import * as v from "valibot";
import { machineRefSchema, machineReportSchema } from "./machine-report.ts";
import type { MachineRef, MachineReport } from "./machine-report.ts";
import { listOf } from "./text.ts";

/** More machines than that no node has. */
const MAX_MACHINES = 4_096;

export const machinesSchema = v.object({ items: listOf(machineReportSchema, MAX_MACHINES) });

/** A line of the watch as the node sends it. */
export const doorLineSchema = v.variant("type", [
  v.object({ type: v.literal("state"), ...machinesSchema.entries }),
  v.object({ type: v.literal("machine"), object: machineReportSchema }),
  v.object({ type: v.literal("gone"), ...machineRefSchema.entries }),
  v.object({ type: v.literal("alive") }),
]);

export type DoorLine = v.InferOutput<typeof doorLineSchema>;

/** What a watch tells its reader. */
export type DoorEvent =
  /** All machines of the node: first, and after each loss of the connection. */
  | { readonly type: "state"; readonly items: readonly MachineReport[] }
  | { readonly type: "machine"; readonly object: MachineReport }
  | ({ readonly type: "gone" } & MachineRef)
  /** The node is not heard any more; a `state` follows when it is again. Once for each loss. */
  | { readonly type: "lost"; readonly why: TrineError };
