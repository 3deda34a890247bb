import type { PersistentVolumeClaim, Stored } from "@trine/kube-client";
import { standsFor } from "@trine/kube-client";
import type { DataSource, DataVolume } from "@trine/kube-types";
import { timestamp } from "../timestamp.ts";

export type Source = Stored<DataSource>;
type Status = NonNullable<DataSource["status"]>;
type Condition = NonNullable<Status["conditions"]>[number];
type Says = Pick<Condition, "status"> & { readonly reason: string; readonly message: string };

/** All that the status of a DataSource follows from. */
export interface Seen {
  readonly source: Source;
  /** That it names, if it names one. */
  readonly named: DataSource | undefined;
  /** By `NAMESPACE/NAME`. */
  readonly claim: (key: string) => PersistentVolumeClaim | undefined;
  readonly volume: (key: string) => DataVolume | undefined;
  readonly now: Date;
}

/** Whether what a DataSource stands for can be copied, and what that is; in CDI's words. Pure. */
export function statusOf(seen: Seen): Status {
  const before = seen.source.status ?? {};
  const stands = standsFor(seen.source, seen.named);
  const said = "says" in stands ? readiness(stands.says, seen) : no(stands.reason, stands.message);
  const others = (before.conditions ?? []).filter(({ type }) => type !== "Ready");
  // Only what can be copied: who reads it goes by that.
  const isReady = said.status === "True" && "says" in stands;
  return {
    ...before,
    source: isReady ? stands.says : {},
    conditions: [...others, conditionOf(said, before, seen.now)],
  };
}

function readiness(says: DataSource["spec"]["source"], { claim, volume }: Seen): Says {
  const { pvc, snapshot } = says;
  if (pvc !== undefined) {
    const key = `${pvc.namespace}/${pvc.name}`;
    const phase = volume(key)?.status?.phase;
    const isFilled = volume(key) === undefined || phase === "Succeeded";
    if (!isFilled) return no(phase ?? "Pending", `Import DataVolume phase ${phase ?? "Pending"}`);
    if (claim(key) === undefined) return no("NotFound", "PVC not found");
    const message = "DataSource is ready to be consumed";
    return { status: "True", reason: "Ready", message };
  }
  if (snapshot !== undefined) {
    return no("SnapshotNotSupported", "spec.source.snapshot: is not supported");
  }
  return no("NoSource", "No source PVC set");
}

function no(reason: string, message: string): Says {
  return { status: "False", reason, message };
}

function conditionOf(said: Says, { conditions = [] }: Status, now: Date): Condition {
  const last = conditions.find(({ type }) => type === "Ready");
  const isSame =
    last?.status === said.status && last.reason === said.reason && last.message === said.message;
  if (isSame) return last;
  const changed = last?.status === said.status ? last.lastTransitionTime : undefined;
  return {
    type: "Ready",
    ...said,
    lastTransitionTime: changed ?? timestamp(now),
    lastHeartbeatTime: timestamp(now),
  };
}
