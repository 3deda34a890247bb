import { labelSelector, nodeSelector, nodeSelectorTerm } from "./selectors.ts";
import { type Infer, int32, int64, known, list, needed, object, string } from "../schema/schema.ts";

const preferredSchedulingTerm = object({
  weight: needed(int32()),
  preference: needed(nodeSelectorTerm),
});

const nodeAffinity = object({
  requiredDuringSchedulingIgnoredDuringExecution: nodeSelector,
  preferredDuringSchedulingIgnoredDuringExecution: list(preferredSchedulingTerm, {
    merge: "atomic",
  }),
});

const podAffinityTerm = object({
  labelSelector,
  namespaces: list(string(), { merge: "atomic" }),
  topologyKey: needed(string()),
  namespaceSelector: labelSelector,
  matchLabelKeys: list(string(), { merge: "atomic" }),
  mismatchLabelKeys: list(string(), { merge: "atomic" }),
});

const weightedPodAffinityTerm = object({
  weight: needed(int32()),
  podAffinityTerm: needed(podAffinityTerm),
});

const podAffinity = object({
  requiredDuringSchedulingIgnoredDuringExecution: list(podAffinityTerm, { merge: "atomic" }),
  preferredDuringSchedulingIgnoredDuringExecution: list(weightedPodAffinityTerm, {
    merge: "atomic",
  }),
});

const podAntiAffinity = object({
  requiredDuringSchedulingIgnoredDuringExecution: list(podAffinityTerm, { merge: "atomic" }),
  preferredDuringSchedulingIgnoredDuringExecution: list(weightedPodAffinityTerm, {
    merge: "atomic",
  }),
});

export const affinity = object({
  nodeAffinity,
  podAffinity,
  podAntiAffinity,
});
export type Affinity = Infer<typeof affinity>;

export const toleration = object({
  key: string(),
  operator: known("Exists", "Equal", "Lt", "Gt"),
  value: string(),
  effect: known("NoSchedule", "PreferNoSchedule", "NoExecute"),
  tolerationSeconds: int64(),
});
export type Toleration = Infer<typeof toleration>;

export const topologySpreadConstraint = object({
  maxSkew: needed(int32()),
  topologyKey: needed(string()),
  whenUnsatisfiable: needed(known("DoNotSchedule", "ScheduleAnyway")),
  labelSelector,
  minDomains: int32(),
  nodeAffinityPolicy: known("Ignore", "Honor"),
  nodeTaintsPolicy: known("Ignore", "Honor"),
  matchLabelKeys: list(string(), { merge: "atomic" }),
});
export type TopologySpreadConstraint = Infer<typeof topologySpreadConstraint>;
