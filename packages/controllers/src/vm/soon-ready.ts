import { type Seen, hasCondition, isLeaving } from "./seen.ts";

/** Kubelet tells a pod's address a second or so after its container runs. */
const SOON_MS = 2_000;

/**
 * How long a machine that has just come to run may go untold: it is about to be ready, and both are told in one write. Zero: it is
 * told now. By the second in which it came to run, so that nothing has to be remembered.
 */
export function soonReadyMs({ vm, vmi, now }: Pick<Seen, "vm" | "vmi" | "now">): number {
  if (vmi?.status?.phase !== "Running" || isLeaving(vmi) || isLeaving(vm)) return 0;
  if (vm.status?.printableStatus !== "Starting") return 0;
  if (!hasCondition(vmi, "Ready", "False", "PodConditionMissing")) return 0;
  const came = vmi.status.phaseTransitionTimestamps?.find(({ phase }) => phase === "Running");
  const agoMs = now.getTime() - Date.parse(came?.phaseTransitionTimestamp ?? "");
  // A clock that was set back, or no time at all, is no reason to wait.
  return agoMs >= 0 && agoMs < SOON_MS ? SOON_MS - agoMs : 0;
}
