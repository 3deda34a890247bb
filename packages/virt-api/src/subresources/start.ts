import type { VirtualMachine, VirtualMachineInstance } from "@trine/kube-types";
import { empty } from "../http/answer.ts";
import { decodeBody } from "../http/decode-body.ts";
import { conflict } from "../refusals/refusal.ts";
import type { Handle } from "./call.ts";
import { aboutMachine, findInstance, getMachine, hasCondition, isFinal } from "./objects.ts";
import { isDryRun, startOptions } from "./options.ts";
import {
  type StateChange,
  patchMachine,
  runStrategyOf,
  runningPatch,
  stateChangePatch,
} from "./run-state.ts";

export const RECOVERY_REQUIRED =
  "VM recovery required: Volume migration failed, leaving some volumes pointing to non-consistent targets; manual intervention is needed to reassign them to their original volumes.";

/** Runs a machine that does not run: by its strategy where that says Halted, else by a request to its controller. */
export const start: Handle = async (deps, { target, body, signal }) => {
  const about = aboutMachine(target.name);
  const machine = await getMachine(deps, target, signal);
  const instance = await findInstance(deps, target, signal);
  const phase = instance?.status?.phase ?? "";
  if (instance !== undefined && !isFinal(instance) && phase !== "Unknown" && phase !== "") {
    throw conflict(about, "VM is already running");
  }
  if (hasCondition(machine, "ManualRecoveryRequired", "True")) {
    throw conflict(about, RECOVERY_REQUIRED);
  }
  const options = decodeBody(body, startOptions);
  const step = startStep(machine, instance, options.paused === true);
  const write = { dryRun: isDryRun(options.dryRun), signal };
  if (step === "run") await patchMachine(deps, target, runningPatch(machine, true), write);
  else {
    const patch = stateChangePatch(machine, step);
    await patchMachine(deps, target, patch, { ...write, subresource: "status" });
  }
  return empty(202);
};

/** Decides how a machine without a live instance is started. */
function startStep(
  machine: VirtualMachine,
  instance: VirtualMachineInstance | undefined,
  paused: boolean,
): "run" | readonly StateChange[] {
  const strategy = runStrategyOf(machine);
  const begin: StateChange = {
    action: "Start",
    ...(paused && { data: { paused: "true" } }),
  };
  switch (strategy) {
    case "Halted":
      return paused ? [begin] : "run";
    case "Manual":
    case "RerunOnFailure": {
      const phase = instance?.status?.phase;
      if (strategy === "RerunOnFailure" && phase === "Failed") {
        const why = "RerunOnFailure does not support starting VM from failed state";
        throw conflict(aboutMachine(machine.metadata?.name ?? ""), why);
      }
      if (instance === undefined || !isFinal(instance)) return [begin];
      const { uid } = instance.metadata ?? {};
      return [{ action: "Stop", ...(uid !== undefined && { uid }) }, begin];
    }
    default: {
      const why = `${strategy} does not support manual start requests`;
      throw conflict(aboutMachine(machine.metadata?.name ?? ""), why);
    }
  }
}
