import { whole } from "../schema/kind.ts";
import { type Infer, known, list, map, needed, object, string, time } from "../schema/schema.ts";

const transferSource = object({
  apiVersion: string(),
  kind: needed(string()),
  namespace: needed(string()),
  name: needed(string()),
  requiredAnnotations: map(string()),
});

const transferTarget = object({ namespace: string(), name: string() });

const objectTransferSpec = object({
  source: needed(transferSource),
  target: needed(transferTarget),
  parentName: string(),
});

const objectTransferCondition = object({
  type: needed(known("Complete")),
  status: needed(known("True", "False", "Unknown")),
  lastTransitionTime: time(),
  lastHeartbeatTime: time(),
  reason: string(),
  message: string(),
});

const objectTransferStatus = object({
  data: map(string()),
  phase: known("Pending", "Running", "Complete", "Error"),
  conditions: list(objectTransferCondition),
});

export const objectTransfer = whole({
  spec: needed(objectTransferSpec),
  status: objectTransferStatus,
});
export type ObjectTransfer = Infer<typeof objectTransfer>;
