import { empty } from "../http/answer.ts";
import { decodeBody } from "../http/decode-body.ts";
import { badRequest, conflict } from "../refusals/refusal.ts";
import type { Handle } from "./call.ts";
import { aboutMachine, findInstance, getMachine, isFinal } from "./objects.ts";
import { isDryRun, stopOptions } from "./options.ts";
import {
  gracePatch,
  patchInstance,
  patchMachine,
  runStrategyOf,
  runningPatch,
  stateChangePatch,
} from "./run-state.ts";

/** Ends a machine's instance; a shorter time for its guest is written into the instance first. */
export const stop: Handle = async (deps, { target, body, signal }) => {
  const about = aboutMachine(target.name);
  const options = decodeBody(body, stopOptions);
  const write = { dryRun: isDryRun(options.dryRun), signal };
  const grace = options.gracePeriod ?? undefined;
  if (grace !== undefined && grace < 0) {
    throw badRequest("gracePeriod has to be greater or equal to 0");
  }
  const machine = await getMachine(deps, target, signal);
  const strategy = runStrategyOf(machine);
  const found = await findInstance(deps, target, signal);
  const live = found === undefined || isFinal(found) ? undefined : found;
  const keeps = strategy === "Always" || strategy === "Once";
  if (!keeps && live === undefined) throw conflict(about, "VM is not running");
  const before = live?.spec.terminationGracePeriodSeconds;
  if (strategy === "Halted" && (grace === undefined || (before !== undefined && grace >= before))) {
    throw conflict(about, "Halted only supports manual stop requests with a shorter graceperiod");
  }
  if (live !== undefined && grace !== undefined) {
    await patchInstance(deps, target, gracePatch(live, grace), write);
  }
  if (keeps) await patchMachine(deps, target, runningPatch(machine, false), write);
  else if (live !== undefined) {
    const patch = stateChangePatch(machine, [{ action: "Stop", uid: live.metadata.uid }]);
    await patchMachine(deps, target, patch, { ...write, subresource: "status" });
  }
  return empty(202);
};
