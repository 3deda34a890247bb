import type { Stored } from "@trine/kube-client";
import type { VirtualMachineInstance } from "@trine/kube-types";
import type { VirtApiDeps } from "../deps.ts";
import { empty } from "../http/answer.ts";
import { decodeBody } from "../http/decode-body.ts";
import { badRequest, conflict } from "../refusals/refusal.ts";
import type { Call, Handle } from "./call.ts";
import { aboutMachine, findInstance, getMachine, hasCondition } from "./objects.ts";
import { isDryRun, restartOptions } from "./options.ts";
import {
  gracePatch,
  patchInstance,
  patchMachine,
  runStrategyOf,
  stateChangePatch,
} from "./run-state.ts";
import { RECOVERY_REQUIRED } from "./start.ts";

/** The shortest time in which a guest is ended without harm to its disks. */
const FORCED_SECONDS = 1;

/** Ends the instance and has the controller make the next. */
export const restart: Handle = async (deps, call) => {
  const { target, body, signal } = call;
  const about = aboutMachine(target.name);
  const options = decodeBody(body, restartOptions);
  const grace = options.gracePeriodSeconds ?? undefined;
  if (grace !== undefined && grace > 0) {
    throw badRequest("For force restart, only gracePeriod=0 is supported for now");
  }
  if (grace !== undefined && grace < 0) {
    throw badRequest("gracePeriod has to be greater or equal to 0");
  }
  const dryRun = isDryRun(options.dryRun);
  const machine = await getMachine(deps, target, signal);
  if (hasCondition(machine, "ManualRecoveryRequired", "True")) {
    throw conflict(about, RECOVERY_REQUIRED);
  }
  const strategy = runStrategyOf(machine);
  if (strategy === "Halted" || strategy === "Once") {
    throw conflict(about, `RunStategy ${strategy} does not support manual restart requests`);
  }
  const instance = await findInstance(deps, target, signal);
  if (instance === undefined) throw conflict(about, "VM is not running: Halted");
  const { uid } = instance.metadata;
  const patch = stateChangePatch(machine, [{ action: "Stop", uid }, { action: "Start" }]);
  const ask = (): Promise<void> =>
    patchMachine(deps, target, patch, { dryRun, signal, subresource: "status" });
  if (grace === undefined) await ask();
  else await withShortGrace(deps, call, { instance, dryRun }, ask);
  return empty(202);
};

/** Shortens the guest's time, asks, and gives the time back where asking failed. */
async function withShortGrace(
  deps: VirtApiDeps,
  { target, signal }: Call,
  { instance, dryRun }: { instance: Stored<VirtualMachineInstance>; dryRun: boolean },
  ask: () => Promise<void>,
): Promise<void> {
  const before = instance.spec.terminationGracePeriodSeconds;
  await patchInstance(deps, target, gracePatch(instance, FORCED_SECONDS), { dryRun, signal });
  try {
    await ask();
  } catch (cause) {
    if (dryRun) throw cause;
    const spec = { ...instance.spec, terminationGracePeriodSeconds: FORCED_SECONDS };
    const undo =
      before === undefined
        ? [{ op: "remove", path: "/spec/terminationGracePeriodSeconds" } as const]
        : gracePatch({ ...instance, spec }, before);
    // Without the caller's signal: it may be what ended the asking.
    await patchInstance(deps, target, undo, {}).catch((failed: unknown) => {
      deps.logger.error({ err: failed, ...target }, "grace period is not given back");
    });
    throw cause;
  }
}
