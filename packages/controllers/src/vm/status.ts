import { kindOf } from "@trine/base";
import type { VirtualMachineStatus } from "@trine/kube-types";
import { type Failure, conditionsOf } from "./conditions.ts";
import { GENERATION } from "./next-step.ts";
import { printableStatus } from "./printable-status.ts";
import { isTemplateSame } from "./restart-required.ts";
import { type Strategy, isRequestDone, strategyOf } from "./run-strategy.ts";
import { type Seen, hasCondition } from "./seen.ts";
import { startFailure } from "./start-failure.ts";

/** The status that a machine is to have. Of the same things seen it is the same, but for a new failure's time of retry. */
export function statusOf(
  seen: Seen,
  failure: Failure | undefined,
  random: () => number,
): VirtualMachineStatus {
  const { vm, vmi, now } = seen;
  const before = vm.status ?? {};
  const strategy = strategyIfKnown(seen);
  const failed =
    strategy === undefined ? before.startFailure : startFailure(vm, vmi, strategy, { now, random });
  const created = vmi !== undefined;
  const { stateChangeRequests = [] } = before;
  const requests = isRequestDone(vm, vmi) ? stateChangeRequests.slice(1) : stateChangeRequests;
  return {
    ...kept(seen),
    created,
    ready: created && hasCondition(vmi, "Ready", "True"),
    conditions: conditionsOf(seen, failure),
    printableStatus: printableStatus({
      ...seen,
      strategy,
      failures: failed?.consecutiveFailCount ?? 0,
    }),
    ...(requests.length > 0 && { stateChangeRequests: requests }),
    ...(failed !== undefined && failed !== null && { startFailure: failed }),
    ...runStrategyOf(seen, strategy),
    ...generationsOf(seen),
  };
}

/**
 * The strategy that was acted on. Until the first instance there is nothing that it could have changed from; and the
 * change to RerunOnFailure starts a machine once, so it is noted when that is done.
 */
function runStrategyOf({ vm, vmi }: Seen, strategy: Strategy | undefined): VirtualMachineStatus {
  const before = vm.status?.runStrategy;
  if (strategy === undefined || (before === undefined && vmi === undefined)) return {};
  if (strategy === "RerunOnFailure" && vmi === undefined) return {};
  return { runStrategy: strategy };
}

function strategyIfKnown({ vm }: Seen): Strategy | undefined {
  try {
    return strategyOf(vm.spec);
  } catch (cause) {
    if (kindOf(cause) !== "invalid") throw cause;
    return undefined;
  }
}

/** What others write, and what is set below only where it has a value. */
function kept({ vm }: Seen): VirtualMachineStatus {
  const dropped = new Set(["stateChangeRequests", "startFailure"]);
  if (vm.spec.updateVolumesStrategy !== "Migration") dropped.add("volumeUpdateState");
  const left = Object.entries(vm.status ?? {}).filter(([name]) => !dropped.has(name));
  return Object.fromEntries(left);
}

/** The generation that the instance is of, and the one that it should be. */
function generationsOf(seen: Seen): VirtualMachineStatus {
  const { vm, vmi } = seen;
  const { generation = 0 } = vm.metadata;
  if (vmi === undefined) return {};
  const told = Number(vmi.metadata.annotations?.[GENERATION] ?? Number.NaN);
  const observed = isTemplateSame(seen) || !Number.isSafeInteger(told) ? generation : told;
  return { observedGeneration: observed, desiredGeneration: generation };
}
