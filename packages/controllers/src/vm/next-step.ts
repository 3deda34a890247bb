import type { JsonPatchOperation } from "@trine/kube-client";
import { MACHINE_FINALIZER } from "@trine/kube-types";
import { areVolumesReady, missingVolume } from "./data-volumes.ts";
import type { VolumeTemplate } from "./data-volumes.ts";
import { isTemplateSame } from "./restart-required.ts";
import {
  type Strategy,
  reruns,
  strategyOf,
  wantsStart,
  wantsStartPaused,
  wantsStop,
} from "./run-strategy.ts";
import {
  type Instance,
  type Seen,
  hasCondition,
  isFinal,
  isLeaving,
  leavesInstance,
} from "./seen.ts";
import { backoffLeftMs } from "./start-failure.ts";

/** What a machine needs next. Each may be repeated: it finds the work done. */
export type Step =
  /** The machine's finalizer, before anything is made for it. */
  | { readonly do: "hold" }
  | { readonly do: "release" }
  /** The instance that nobody has becomes the machine's. */
  | { readonly do: "adopt"; readonly vmi: Instance }
  | { readonly do: "createVolume"; readonly template: VolumeTemplate }
  | { readonly do: "start"; readonly paused: boolean }
  | { readonly do: "stop"; readonly vmi: Instance }
  /** Remembers, before a failed instance goes, that another is to come. */
  | { readonly do: "requestStart" }
  /** A request to start a machine that is halted makes it run always. */
  | { readonly do: "runAlways" }
  /** The instance is told of a generation that changes nothing for it. */
  | { readonly do: "tellGeneration"; readonly vmi: Instance }
  /** What follows while the machine runs; with the generation. */
  | {
      readonly do: "updateLive";
      readonly vmi: Instance;
      readonly operations: readonly JsonPatchOperation[];
    }
  | { readonly do: "refuse"; readonly message: string }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "nothing" };

const NOTHING: Step = { do: "nothing" };

/** Templates become volumes only when the machine starts. */
const ON_START = "kubevirt.io/immediate-data-volume-creation";

export const GENERATION = "kubevirt.io/vm-generation";

/** Decides; does no I/O. */
export function nextStep(seen: Seen): Step {
  const { vm } = seen;
  if (isLeaving(vm)) return ending(seen);
  if (vm.metadata.finalizers?.includes(MACHINE_FINALIZER) !== true) return { do: "hold" };
  if (seen.orphan !== undefined) return { do: "adopt", vmi: seen.orphan };
  const step = byStrategy(seen, strategyOf(vm.spec));
  if (step.do !== "nothing") return step;
  const template = missingVolume(seen);
  if (template !== undefined && vm.metadata.annotations?.[ON_START] !== "false") {
    return { do: "createVolume", template };
  }
  return telling(seen);
}

function ending({ vm, vmi }: Seen): Step {
  if (vmi === undefined || leavesInstance(vm)) {
    const isHeld = vm.metadata.finalizers?.includes(MACHINE_FINALIZER) ?? false;
    return isHeld ? { do: "release" } : NOTHING;
  }
  return stopping(vmi);
}

function byStrategy(seen: Seen, strategy: Strategy): Step {
  const { vm, vmi } = seen;
  switch (strategy) {
    case "Always":
      if (vmi === undefined) return starting(seen);
      return wantsStop(vm, vmi) || isFinal(vmi) ? stopping(vmi) : NOTHING;
    case "RerunOnFailure":
      if (vmi === undefined) return reruns(vm) ? starting(seen) : NOTHING;
      return rerunning(seen, vmi);
    case "Manual":
      if (vmi === undefined) return wantsStart(vm) ? starting(seen) : NOTHING;
      return wantsStop(vm, vmi) ? stopping(vmi) : NOTHING;
    case "Halted":
      if (vmi === undefined) return wantsStart(vm) ? { do: "runAlways" } : NOTHING;
      return stopping(vmi);
    case "Once":
      return vmi === undefined ? starting(seen) : NOTHING;
    case "WaitAsReceiver":
      return {
        do: "refuse",
        message: "runStrategy WaitAsReceiver needs migration between clusters, which is not there",
      };
  }
}

/** An instance that failed has a successor, one that ended well has none. */
function rerunning({ vm }: Seen, vmi: Instance): Step {
  if (isLeaving(vmi)) return NOTHING;
  if (vmi.status?.phase === "Failed" && !wantsStart(vm)) return { do: "requestStart" };
  return wantsStop(vm, vmi) || isFinal(vmi) ? stopping(vmi) : NOTHING;
}

function stopping(vmi: Instance): Step {
  return isLeaving(vmi) ? NOTHING : { do: "stop", vmi };
}

function starting(seen: Seen): Step {
  const { vm, now, isTaken } = seen;
  const template = missingVolume(seen);
  if (template !== undefined) return { do: "createVolume", template };
  if (hasCondition(vm, "ManualRecoveryRequired", "True") || !areVolumesReady(seen)) return NOTHING;
  if (isTaken) {
    const message = `there is a VirtualMachineInstance ${vm.metadata.name} of another owner: delete or rename it`;
    return { do: "refuse", message };
  }
  const ms = backoffLeftMs(vm, now);
  return ms > 0 ? { do: "wait", ms } : { do: "start", paused: wantsStartPaused(vm) };
}

function telling(seen: Seen): Step {
  const { vm, vmi, change } = seen;
  if (vmi === undefined || isLeaving(vmi) || isFinal(vmi)) return NOTHING;
  if (change.kind === "live" && vmi.status?.phase === "Running") {
    return { do: "updateLive", vmi, operations: change.operations };
  }
  const told = vmi.metadata.annotations?.[GENERATION];
  const isNew = told !== undefined && told !== String(vm.metadata.generation ?? 0);
  return isNew && isTemplateSame(seen) ? { do: "tellGeneration", vmi } : NOTHING;
}
