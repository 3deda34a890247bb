import { affinity, toleration } from "./scheduling.ts";
import { list, map, needed, object, string, time } from "../schema/schema.ts";

export const operatorNodePlacement = object({
  nodeSelector: map(string()),
  affinity,
  tolerations: list(toleration),
});

export const operatorCondition = object({
  type: needed(string()),
  status: needed(string()),
  reason: string(),
  message: string(),
  lastHeartbeatTime: time(),
  lastTransitionTime: time(),
});
