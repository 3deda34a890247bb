import { labelSelector, nodeSelectorRequirement } from "../kubernetes/selectors.ts";
import { virtualMachineSpec } from "../kubevirt/machine-spec.ts";
import { whole } from "../schema/kind.ts";
import { templateMetadata } from "../schema/metadata.ts";
import {
  type Infer,
  boolean,
  int32,
  int64,
  intOrString,
  known,
  list,
  needed,
  nullable,
  object,
  oneOf,
  string,
  time,
} from "../schema/schema.ts";

const virtualMachineTemplateSpec = object({
  metadata: templateMetadata(),
  spec: virtualMachineSpec,
});

const virtualMachinePoolNameGeneration = object({
  appendIndexToConfigMapRefs: boolean(),
  appendIndexToSecretRefs: boolean(),
});

const virtualMachinePoolUnmanagedStrategy = object({});

const virtualMachinePoolOpportunisticScaleInStrategy = object({
  statePreservation: oneOf(["Disabled", "Offline", "Online"]),
});

const virtualMachinePoolSelectors = object({
  labelSelector,
  nodeSelectorRequirementMatcher: list(nodeSelectorRequirement),
});

const virtualMachinePoolSelectionPolicy = object({
  sortPolicy: oneOf(["AscendingOrder", "DescendingOrder", "Newest", "Oldest", "Random"]),
  selectors: virtualMachinePoolSelectors,
});

const virtualMachinePoolProactiveScaleInStrategy = object({
  selectionPolicy: virtualMachinePoolSelectionPolicy,
  statePreservation: oneOf(["Disabled", "Offline", "Online"]),
});

const virtualMachinePoolScaleInStrategy = object({
  unmanaged: virtualMachinePoolUnmanagedStrategy,
  opportunistic: virtualMachinePoolOpportunisticScaleInStrategy,
  proactive: virtualMachinePoolProactiveScaleInStrategy,
});

const virtualMachineOpportunisticUpdateStrategy = object({});

const virtualMachinePoolProactiveUpdateStrategy = object({
  selectionPolicy: virtualMachinePoolSelectionPolicy,
});

const virtualMachinePoolUpdateStrategy = object({
  unmanaged: virtualMachinePoolUnmanagedStrategy,
  opportunistic: virtualMachineOpportunisticUpdateStrategy,
  proactive: virtualMachinePoolProactiveUpdateStrategy,
});

const virtualMachinePoolAutohealingStrategy = object({
  startUpFailureThreshold: int64({ minimum: 1, maximum: 4294967295 }),
  minFailingToStartDuration: string(),
});

const virtualMachinePoolSpec = object({
  replicas: int32({ minimum: 0 }),
  selector: needed(labelSelector),
  virtualMachineTemplate: needed(virtualMachineTemplateSpec),
  paused: boolean(),
  nameGeneration: virtualMachinePoolNameGeneration,
  maxUnavailable: intOrString(),
  scaleInStrategy: virtualMachinePoolScaleInStrategy,
  updateStrategy: virtualMachinePoolUpdateStrategy,
  autohealing: virtualMachinePoolAutohealingStrategy,
});

const virtualMachinePoolCondition = object({
  type: needed(known("ReplicaFailure", "ReplicaPaused")),
  status: needed(known("True", "False", "Unknown")),
  lastProbeTime: nullable(time()),
  lastTransitionTime: nullable(time()),
  reason: string(),
  message: string(),
});

const virtualMachinePoolStatus = object({
  replicas: int32(),
  readyReplicas: int32(),
  conditions: list(virtualMachinePoolCondition, { merge: "atomic" }),
  labelSelector: string(),
});

export const virtualMachinePool = whole({
  spec: needed(virtualMachinePoolSpec),
  status: virtualMachinePoolStatus,
});
export type VirtualMachinePool = Infer<typeof virtualMachinePool>;
