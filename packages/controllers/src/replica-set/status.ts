import type { Stored } from "@trine/kube-client";
import type { VirtualMachineInstance, VirtualMachineInstanceReplicaSet } from "@trine/kube-types";
import { timestamp } from "../timestamp.ts";
import { hasCondition } from "../vm/seen.ts";
import { type ReplicaSet, activeOf } from "./next-steps.ts";
import { selectorText } from "./selector.ts";

type Status = NonNullable<VirtualMachineInstanceReplicaSet["status"]>;
type Condition = NonNullable<Status["conditions"]>[number];

/** What stands against the set. */
export interface SetFailure {
  readonly reason: string;
  readonly message: string;
}

/** The status that a set is to have; of the same things it is the same. */
export function setStatus(
  set: ReplicaSet,
  instances: readonly Stored<VirtualMachineInstance>[],
  failure: SetFailure | undefined,
  now: Date,
): Status {
  const active = activeOf(set, instances);
  const before = set.status?.conditions ?? [];
  const paused = { type: "ReplicaPaused", status: "True", reason: "Paused" };
  const said: readonly Condition[] = [
    ...(set.spec.paused === true ? [{ ...paused, message: "Controller got paused" }] : []),
    ...(failure === undefined ? [] : [{ type: "ReplicaFailure", status: "True", ...failure }]),
  ];
  const conditions = said.map((each) => {
    const same = before.find(({ type }) => type === each.type);
    return { ...each, lastTransitionTime: same?.lastTransitionTime ?? timestamp(now) };
  });
  return {
    replicas: active.length,
    readyReplicas: active.filter((vmi) => hasCondition(vmi, "Ready", "True")).length,
    labelSelector: selectorText(set.spec.selector),
    ...(conditions.length > 0 && { conditions }),
  };
}
