// Pending → Scheduling (its pod is there) → Scheduled (its node knows the machine) → Running → Succeeded | Failed;
// Unknown while the node is not heard.
import type { Heard } from "./heard.ts";
import {
  type Phase,
  SILENCE_MS,
  type Seen,
  isFinal,
  isLeaving,
  machineStatus,
  phaseOf,
  reportOf,
} from "./seen.ts";

/** The phase an instance is in now. It never goes back, but from Unknown. */
export function nextPhase(seen: Seen): Phase {
  const { vmi, pod, isFenced, heard } = seen;
  const before = phaseOf(vmi);
  if (isFinal(before)) return before;
  if (pod === undefined) return withoutPod(seen, before);
  const end = endOf(seen);
  if (end !== undefined) return end;
  if (isFenced) return "Failed";
  if (heard === undefined) return before === "Pending" ? "Scheduling" : before;
  if (heard.node === "lost") return whileLost(heard, before, seen.now);
  return aboutToRunMs(seen) > 0 ? "Scheduling" : whileHeard(heard, before);
}

/** A node starts a machine in less, unless it has much to do. */
const START_MS = 1_000;

/**
 * How long it is not told yet that the node knows the machine: it is about to run, and both are told in one write. Zero: it is told.
 * A node whose clock is another's has no such time.
 */
export function aboutToRunMs(seen: Seen): number {
  const { vmi, heard, now } = seen;
  const report = reportOf(seen);
  const isBefore = ["Pending", "Scheduling"].includes(phaseOf(vmi));
  if (!isBefore || heard?.node !== "heard" || report?.phase !== "starting") return 0;
  const agoMs = now.getTime() - Date.parse(report.since);
  return agoMs >= 0 && agoMs < START_MS ? START_MS - agoMs : 0;
}

/** A machine that was asked to go has gone; one that was not was lost. */
function withoutPod({ vmi }: Seen, before: Phase): Phase {
  if (before === "Pending") return "Pending";
  return isLeaving(vmi) ? "Succeeded" : "Failed";
}

/** How the machine ended; undefined: it has not. What was asked to end has done so, however it was done. */
function endOf(seen: Seen): "Succeeded" | "Failed" | undefined {
  const { vmi, pod } = seen;
  const ended = (well: boolean): "Succeeded" | "Failed" =>
    well || isLeaving(vmi) ? "Succeeded" : "Failed";
  const exit = machineStatus(seen)?.state?.terminated;
  if (exit !== undefined) return ended(exit.exitCode === 0);
  const { phase } = pod?.status ?? {};
  if (phase === "Succeeded" || phase === "Failed") return ended(phase === "Succeeded");
  const report = reportOf(seen);
  if (report?.phase === "stopped" || report?.phase === "failed")
    return ended(report.phase === "stopped");
  return undefined;
}

const ORDER: readonly Phase[] = ["Pending", "Scheduling", "Scheduled", "Running"];

function whileHeard({ report }: Heard, before: Phase): Phase {
  const running = report?.phase === "running" || report?.phase === "paused";
  // A node that knows of none may not have begun; that it has ended the pod's status says.
  const told: Phase = running ? "Running" : report === undefined ? "Scheduling" : "Scheduled";
  if (before === "Unknown") return report === undefined ? "Unknown" : told;
  return ORDER.indexOf(told) > ORDER.indexOf(before) ? told : before;
}

function whileLost(
  { since, report }: Heard & { readonly node: "lost" },
  before: Phase,
  now: Date,
): Phase {
  const isKnown = before === "Scheduled" || before === "Running" || report !== undefined;
  const isSilent = now.getTime() - since.getTime() >= SILENCE_MS;
  if (isKnown && isSilent) return "Unknown";
  return before === "Pending" ? "Scheduling" : before;
}
