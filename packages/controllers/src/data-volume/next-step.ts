import type { PersistentVolumeClaim, Pod, Stored } from "@trine/kube-client";
import { claimOf } from "./claim-of.ts";
import type { ClaimAt } from "./plan-filling.ts";
import {
  POD_PHASE,
  POD_READY,
  PREALLOCATED,
  RETAIN,
  type Seen,
  isBound,
  isFilled,
  isImmediate,
  isLeaving,
  isOwn,
  isPreallocated,
} from "./seen.ts";

/** What a volume needs done next, beside its status. Each may be repeated: it finds the work done. */
export type Step =
  | { readonly do: "createClaim"; readonly claim: PersistentVolumeClaim }
  | { readonly do: "createPod"; readonly claim: Stored<PersistentVolumeClaim> }
  /** What gives a claim of another namespace. */
  | { readonly do: "createGiver"; readonly far: ClaimAt }
  | {
      readonly do: "join";
      readonly giver: Stored<Pod>;
      readonly taker: Stored<Pod>;
      readonly ms: number;
    }
  /** What the pod says of itself, on the claim: who uploads looks there. */
  | { readonly do: "tellClaim"; readonly annotations: Readonly<Record<string, string>> }
  | { readonly do: "deletePod"; readonly pod: Stored<Pod> }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "nothing" };

const NOTHING: Step = { do: "nothing" };
/** So often a node is asked how far an import is. */
const LOOK_MS = 2_000;
/** A claim that is in use may be free then. */
const IN_USE_MS = 5_000;

/** Decides; does no I/O. */
export function nextStep(seen: Seen): Step {
  const { volume, claim, plan, facts } = seen;
  const useless = uselessGiver(seen);
  if (useless !== undefined) return { do: "deletePod", pod: useless };
  // What it has goes with it: owner references. A claim stays for as long as a pod has it.
  if (isLeaving(volume)) {
    return claim?.metadata.uid === volume.metadata.uid ? ended(seen.pod) : NOTHING;
  }
  if (claim === undefined) {
    // Cleared away after it was filled: its user's to say.
    if (volume.status?.phase === "Succeeded" || "refused" in plan) return NOTHING;
    const made = claimOf(volume, facts);
    if ("refused" in made) return seen.sourceTrouble === undefined ? NOTHING : later();
    return { do: "createClaim", claim: made };
  }
  if (!isOwn(claim, volume)) return NOTHING;
  // While a pod has it, it stays.
  if (isLeaving(claim)) return ended(seen.pod);
  // Either says it alone: a cache may not have the other yet.
  if (isFilled(claim) || volume.status?.phase === "Succeeded") return afterwards(seen);
  if ("refused" in plan) return NOTHING;
  return filling(seen, claim);
}

/** Nobody's any more: of a volume of the name that was there before, or of one that takes nothing now. */
function uselessGiver(seen: Seen): Stored<Pod> | undefined {
  const { givers, giver } = seen;
  const isOf = (pod: Stored<Pod>): boolean => pod.metadata.uid === giver?.metadata.uid;
  return givers.find((pod) => {
    if (isLeaving(pod)) return false;
    return !isOf(pod) || !isTaking(seen) || pod.status?.phase === "Failed";
  });
}

function isTaking({ volume, claim, plan }: Seen): boolean {
  if (isLeaving(volume) || volume.status?.phase === "Succeeded") return false;
  if (claim === undefined || !isOwn(claim, volume) || isLeaving(claim)) return false;
  return !isFilled(claim) && !("refused" in plan);
}

function later(): Step {
  return { do: "wait", ms: IN_USE_MS };
}

function afterwards({ volume, pod }: Seen): Step {
  // Only when its user has been told: the claim's word is for us alone until then.
  const isTold = volume.status?.phase === "Succeeded";
  const isKept = volume.metadata.annotations?.[RETAIN] === "true";
  return !isTold || isKept ? NOTHING : ended(pod);
}

function ended(pod: Stored<Pod> | undefined): Step {
  return pod === undefined || isLeaving(pod) ? NOTHING : { do: "deletePod", pod };
}

function filling(seen: Seen, claim: Stored<PersistentVolumeClaim>): Step {
  const { pod, giver, plan, sourceTrouble, targetTrouble } = seen;
  const far = "refused" in plan ? undefined : plan.far;
  if (far !== undefined && giver === undefined && pod?.status?.phase !== "Succeeded") {
    if ((sourceTrouble ?? targetTrouble) !== undefined) return later();
    return waits(seen) ? held(seen) : { do: "createGiver", far };
  }
  if (pod === undefined) {
    if ((sourceTrouble ?? targetTrouble) !== undefined) return later();
    return waits(seen) ? held(seen) : { do: "createPod", claim };
  }
  if (isLeaving(pod)) return NOTHING; // the next one has the same name
  if (pod.status?.phase === "Failed") return { do: "deletePod", pod };
  const annotations = annotationsOf(seen, pod, claim);
  const before = claim.metadata.annotations ?? {};
  const isTold = Object.entries(annotations).every(([key, value]) => before[key] === value);
  if (!isTold) return { do: "tellClaim", annotations };
  if (pod.status?.phase !== "Running") return NOTHING;
  return giver?.status?.phase === "Running" && !isLeaving(giver)
    ? { do: "join", giver, taker: pod, ms: LOOK_MS }
    : { do: "wait", ms: LOOK_MS };
}

/** Its claim tells when it is bound; that the pod of another does not come, nothing does. */
function held({ sisters }: Seen): Step {
  return sisters?.isBehind === true ? later() : NOTHING;
}

/** Whether the volume is left alone until somebody wants to use it, or the pod of another has bound it too. */
export function waits(seen: Seen): boolean {
  const { volume, claim, waitsForConsumer, consumer, sisters, pod } = seen;
  if (pod !== undefined || !waitsForConsumer || isImmediate(volume)) return false;
  if (claim !== undefined && isBound(claim)) return false;
  return consumer === undefined || sisters?.isBehind === true;
}

function annotationsOf(
  { volume, plan, report }: Seen,
  pod: Pod,
  claim: PersistentVolumeClaim,
): Readonly<Record<string, string>> {
  const phase = pod.status?.phase ?? "Pending";
  const isAllocated = phase === "Succeeded" && isPreallocated(volume, claim);
  const said = { [POD_PHASE]: phase, ...(isAllocated && { [PREALLOCATED]: "true" }) };
  if ("refused" in plan || plan.verb !== "Upload") return said;
  const isReady = phase === "Running" && report?.state === "waiting";
  return { ...said, [POD_READY]: String(isReady) };
}
