import type { DataVolume } from "@trine/kube-types";
import { timestamp } from "../timestamp.ts";
import { claimOf } from "./claim-of.ts";
import { waits } from "./next-step.ts";
import { type Seen, type Volume, failureOf, isAdopted, isBound, isFilled, isOwn } from "./seen.ts";

type Claim = NonNullable<Seen["claim"]>;
type Status = NonNullable<DataVolume["status"]>;
type Phase = NonNullable<Status["phase"]>;
type Condition = NonNullable<Status["conditions"]>[number];
type Said = Pick<Condition, "type" | "status"> & { reason?: string; message?: string };

/** How a volume is, in CDI's words. Pure. */
export function statusOf(seen: Seen): Status {
  const before = seen.volume.status ?? {};
  // Once it is filled it stays that, whatever becomes of the claim.
  if (before.phase === "Succeeded") return before;
  const phase = phaseOf(seen);
  const progress = progressOf(seen, phase);
  const [restarts] = seen.pod?.status?.containerStatuses ?? [];
  const restartCount = Math.max(before.restartCount ?? 0, restarts?.restartCount ?? 0);
  return {
    ...before,
    claimName: seen.volume.metadata.name,
    phase,
    progress,
    ...(restartCount > 0 ? { restartCount } : {}),
    conditions: [bound(seen), running(seen, phase), ready(phase)].map((said) =>
      conditionOf(said, before.conditions ?? [], seen.now),
    ),
  };
}

function phaseOf(seen: Seen): Phase {
  const { claim, plan, volume, pod, report } = seen;
  if (refusalOf(seen) !== undefined) return "Failed";
  if (claim === undefined || isForeign(seen)) return "Pending";
  if (isContent(claim, volume)) return isBound(claim) ? "Succeeded" : "PVCBound";
  if ("refused" in plan) return "Failed";
  if (waits(seen)) return "WaitForFirstConsumer";
  const { verb } = plan;
  if (pod === undefined) return isBound(claim) ? "PVCBound" : "Pending";
  const { phase } = pod.status ?? {};
  if (phase === "Succeeded") return "Succeeded";
  if (phase !== "Running") return `${verb}Scheduled`;
  if (verb !== "Upload") return `${verb}InProgress`;
  return report?.state === "waiting" || volume.status?.phase === "UploadReady"
    ? "UploadReady"
    : "UploadScheduled";
}

/** Why it can never be filled as it is. */
export function refusalOf({ plan, claim, volume, facts, sourceTrouble }: Seen): string | undefined {
  if (claim !== undefined && isContent(claim, volume)) return undefined;
  if ("refused" in plan) return plan.refused;
  if (claim !== undefined || sourceTrouble !== undefined) return undefined;
  const made = claimOf(volume, facts);
  return "refused" in made ? made.refused : undefined;
}

/** Whether a claim has all that the volume is to have, wherever it came from. */
function isContent(claim: Claim, volume: Volume): boolean {
  return isAdopted(claim, volume) || (isOwn(claim, volume) && isFilled(claim));
}

/** A claim of the name that was there before, and is not to be written over. */
export function isForeign({ claim, volume }: Seen): boolean {
  return claim !== undefined && !isOwn(claim, volume) && !isAdopted(claim, volume);
}

function progressOf({ volume, report }: Seen, phase: Phase): string {
  if (phase === "Succeeded") return "100.0%";
  const known = Number.parseFloat(volume.status?.progress ?? "");
  const before = Number.isFinite(known) ? known : undefined;
  const now = report?.state === "running" ? report.progress : undefined;
  const most = Math.max(before ?? -1, now ?? -1);
  return most < 0 ? "N/A" : `${Math.min(most, 99.99).toFixed(2)}%`;
}

function bound(seen: Seen): Said {
  const { claim } = seen;
  if (claim === undefined) {
    return { type: "Bound", status: "Unknown", reason: "NotFound", message: "No PVC found" };
  }
  const { name } = claim.metadata;
  if (isForeign(seen)) {
    const message = `PVC ${name} already exists and is not managed by DataVolume`;
    return { type: "Bound", status: "False", reason: "ErrResourceExists", message };
  }
  if (isBound(claim)) {
    return { type: "Bound", status: "True", reason: "Bound", message: `PVC ${name} Bound` };
  }
  return { type: "Bound", status: "False", reason: "Pending", message: `PVC ${name} Pending` };
}

function running(seen: Seen, phase: Phase): Said {
  const { pod, giver, sourceTrouble, targetTrouble, plan } = seen;
  const type = "Running";
  const refused = refusalOf(seen);
  if (refused !== undefined) return { type, status: "False", reason: "Error", message: refused };
  const verb = "refused" in plan ? "Import" : plan.verb;
  if (phase === "Succeeded") {
    return { type, status: "False", reason: "Completed", message: `${verb} Complete` };
  }
  if (sourceTrouble !== undefined && pod === undefined) {
    return { type, status: "False", reason: "SourceInUse", message: sourceTrouble };
  }
  if (targetTrouble !== undefined && pod === undefined) {
    return { type, status: "False", reason: "TargetInUse", message: targetTrouble };
  }
  const [status] = pod?.status?.containerStatuses ?? [];
  const waiting = status?.state?.waiting;
  if (waiting?.reason === "ErrImagePull" || waiting?.reason === "ImagePullBackOff") {
    const message = waiting.message ?? waiting.reason;
    return { type, status: "False", reason: "ImagePullFailed", message };
  }
  const failure = failureOf(pod);
  if (failure !== undefined && status?.state?.running === undefined) {
    return { type, status: "False", reason: "Error", message: failure };
  }
  const ofGiver = failureOf(giver);
  if (
    ofGiver !== undefined &&
    giver?.status?.containerStatuses?.[0]?.state?.running === undefined
  ) {
    return { type, status: "False", reason: "Error", message: `the source: ${ofGiver}` };
  }
  if (pod?.status?.phase === "Running") return { type, status: "True", reason: "Pod is running" };
  return { type, status: "False", ...(pod === undefined ? {} : { reason: "Pending" }) };
}

function ready(phase: Phase): Said {
  return { type: "Ready", status: phase === "Succeeded" ? "True" : "False" };
}

function conditionOf(said: Said, before: readonly Condition[], now: Date): Condition {
  const last = before.find(({ type }) => type === said.type);
  const isSame =
    last?.status === said.status && last.reason === said.reason && last.message === said.message;
  if (isSame) return last;
  const changed = last?.status === said.status ? last.lastTransitionTime : undefined;
  return {
    ...said,
    lastTransitionTime: changed ?? timestamp(now),
    lastHeartbeatTime: timestamp(now),
  };
}
