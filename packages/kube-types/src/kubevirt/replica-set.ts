import { labelSelector } from "../kubernetes/selectors.ts";
import { virtualMachineInstanceTemplateSpec } from "./instance-spec.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  boolean,
  int32,
  known,
  list,
  needed,
  nullable,
  object,
  string,
  time,
} from "../schema/schema.ts";

const virtualMachineInstanceReplicaSetSpec = object({
  replicas: int32(),
  selector: needed(labelSelector),
  template: needed(virtualMachineInstanceTemplateSpec),
  paused: boolean(),
});

const virtualMachineInstanceReplicaSetCondition = object({
  type: needed(known("ReplicaFailure", "ReplicaPaused")),
  status: needed(known("True", "False", "Unknown")),
  lastProbeTime: nullable(time()),
  lastTransitionTime: nullable(time()),
  reason: string(),
  message: string(),
});

const virtualMachineInstanceReplicaSetStatus = object({
  replicas: int32(),
  readyReplicas: int32(),
  conditions: list(virtualMachineInstanceReplicaSetCondition),
  labelSelector: string(),
});

export const virtualMachineInstanceReplicaSet = whole({
  spec: needed(virtualMachineInstanceReplicaSetSpec),
  status: nullable(virtualMachineInstanceReplicaSetStatus),
});
export type VirtualMachineInstanceReplicaSet = Infer<typeof virtualMachineInstanceReplicaSet>;
