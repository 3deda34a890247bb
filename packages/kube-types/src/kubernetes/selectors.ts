import { type Infer, known, list, map, needed, object, string } from "../schema/schema.ts";

const labelSelectorRequirement = object({
  key: needed(string()),
  operator: needed(known("In", "NotIn", "Exists", "DoesNotExist")),
  values: list(string(), { merge: "atomic" }),
});

export const labelSelector = object({
  matchLabels: map(string()),
  matchExpressions: list(labelSelectorRequirement, { merge: "atomic" }),
});
export type LabelSelector = Infer<typeof labelSelector>;

export const nodeSelectorRequirement = object({
  key: needed(string()),
  operator: needed(known("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")),
  values: list(string(), { merge: "atomic" }),
});

export const nodeSelectorTerm = object({
  matchExpressions: list(nodeSelectorRequirement, { merge: "atomic" }),
  matchFields: list(nodeSelectorRequirement, { merge: "atomic" }),
});

export const nodeSelector = object({
  nodeSelectorTerms: needed(list(nodeSelectorTerm, { merge: "atomic" })),
});
