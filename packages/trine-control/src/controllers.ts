import {
  type Controller,
  type MakeCache,
  controlCaches,
  machineController,
  replicaSetController,
} from "@trine/controllers";
import { CLUSTER_DEFAULTS } from "@trine/kube-types";
import type { ControlProcess } from "./process.ts";

/** The controllers of this program, over caches of their own. */
export function controllersOf(process: ControlProcess, make: MakeCache): readonly Controller[] {
  const { client: api, events, metrics, logger } = process;
  const deps = {
    api,
    caches: controlCaches(make),
    events,
    defaults: () => CLUSTER_DEFAULTS,
    now: () => new Date(),
    random: Math.random,
    onFailure: (controller: string, key: string, err: unknown, retryMs: number): void => {
      metrics.stepFailed(controller);
      logger.warn({ err, controller, key, retryMs }, "step failed");
    },
  };
  return [machineController(deps), replicaSetController(deps)];
}
