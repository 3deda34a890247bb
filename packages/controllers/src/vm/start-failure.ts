import type { VirtualMachineStatus } from "@trine/kube-types";
import type { Strategy } from "./run-strategy.ts";
import { type Instance, type Machine, isFinal } from "./seen.ts";
import { timestamp } from "../timestamp.ts";

type StartFailure = NonNullable<VirtualMachineStatus["startFailure"]>;

const STEP_S = 10;
const MAX_S = 300;

/** Strategies that start again of themselves, and Once, whose failure is shown alike. */
export const RESTARTING: ReadonlySet<Strategy> = new Set(["Always", "RerunOnFailure", "Once"]);

/** Seconds before the next try: 10 s by the square of the failures, half of it more by chance, 300 s at most. */
export function backoffSeconds(failures: number, random: () => number): number {
  const seconds = STEP_S * Math.max(failures, 1) ** 2;
  const more = Math.floor(random() * (Math.floor(seconds / 2) + 1));
  return Math.min(seconds + more, MAX_S);
}

function hasRun({ status }: Instance): boolean {
  return status?.phaseTransitionTimestamps?.some(({ phase }) => phase === "Running") ?? false;
}

/** Whether it was told to go before it ended: that is no failure. Times are of whole seconds. */
function wasToldToGo({ metadata, status }: Instance): boolean {
  const ended = status?.phaseTransitionTimestamps?.find(({ phase }) => phase === status.phase);
  const told = Date.parse(metadata.deletionTimestamp ?? "");
  return told < Date.parse(ended?.phaseTransitionTimestamp ?? "");
}

/** What is known of failures to start: each instance that ended before it ran counts once; one that ran clears them. */
export function startFailure(
  vm: Machine,
  vmi: Instance | undefined,
  strategy: Strategy,
  { now, random }: { readonly now: Date; readonly random: () => number },
): StartFailure | undefined {
  const before = vm.status?.startFailure ?? undefined;
  if (!RESTARTING.has(strategy)) return undefined;
  if (vmi === undefined) return before;
  if (hasRun(vmi)) return undefined;
  const isCounted = before?.lastFailedVMIUID === vmi.metadata.uid;
  if (!isFinal(vmi) || isCounted || wasToldToGo(vmi)) return before;
  const consecutiveFailCount = (before?.consecutiveFailCount ?? 0) + 1;
  const waitMs = backoffSeconds(consecutiveFailCount, random) * 1000;
  return {
    consecutiveFailCount,
    lastFailedVMIUID: vmi.metadata.uid,
    retryAfterTimestamp: timestamp(new Date(now.getTime() + waitMs)),
  };
}

/** Milliseconds until the machine may be started again. */
export function backoffLeftMs({ status }: Machine, now: Date): number {
  const after = Date.parse(status?.startFailure?.retryAfterTimestamp ?? "");
  return Number.isNaN(after) ? 0 : Math.max(0, after - now.getTime());
}
