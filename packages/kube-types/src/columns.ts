import type { Column } from "./schema/kind.ts";

export const AGE: Column = { name: "Age", type: "date", path: ".metadata.creationTimestamp" };
export const PHASE: Column = { name: "Phase", type: "string", path: ".status.phase" };
export const READY: Column = {
  name: "Ready",
  type: "string",
  path: ".status.conditions[?(@.type=='Ready')].status",
};

/** Of what keeps a number of machines running. */
export const REPLICAS: readonly Column[] = [
  { name: "Desired", type: "integer", path: ".spec.replicas" },
  { name: "Current", type: "integer", path: ".status.replicas" },
  { name: "Ready", type: "integer", path: ".status.readyReplicas" },
  AGE,
];
