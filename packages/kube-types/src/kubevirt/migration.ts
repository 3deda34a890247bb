import { virtualMachineInstanceMigrationState } from "./migration-state.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  known,
  list,
  map,
  needed,
  nullable,
  object,
  string,
  time,
} from "../schema/schema.ts";

const virtualMachineInstanceMigrationSource = object({
  migrationID: needed(string()),
  connectURL: needed(string()),
});

const virtualMachineInstanceMigrationTarget = object({ migrationID: needed(string()) });

const virtualMachineInstanceMigrationSpec = object({
  vmiName: string(),
  addedNodeSelector: map(string()),
  sendTo: virtualMachineInstanceMigrationSource,
  receive: virtualMachineInstanceMigrationTarget,
  priority: known("system-critical", "user-triggered", "system-maintenance"),
});

const virtualMachineInstanceMigrationCondition = object({
  type: needed(
    known(
      "migrationAbortRequested",
      "migrationRejectedByResourceQuota",
      "migrationBlockedByUtilityVolumes",
      "decentralizedMigrationBlocked",
      "migrationBlockedByBackup",
    ),
  ),
  status: needed(known("True", "False", "Unknown")),
  lastProbeTime: nullable(time()),
  lastTransitionTime: nullable(time()),
  reason: string(),
  message: string(),
});

const virtualMachineInstanceMigrationPhaseTransitionTimestamp = object({
  phase: known(
    "Pending",
    "Scheduling",
    "Scheduled",
    "PreparingTarget",
    "TargetReady",
    "Running",
    "Succeeded",
    "Failed",
    "WaitingForSync",
    "Synchronizing",
  ),
  phaseTransitionTimestamp: time(),
});

const virtualMachineInstanceMigrationStatus = object({
  phase: known(
    "Pending",
    "Scheduling",
    "Scheduled",
    "PreparingTarget",
    "TargetReady",
    "Running",
    "Succeeded",
    "Failed",
    "WaitingForSync",
    "Synchronizing",
  ),
  conditions: list(virtualMachineInstanceMigrationCondition),
  phaseTransitionTimestamps: list(virtualMachineInstanceMigrationPhaseTransitionTimestamp, {
    merge: "atomic",
  }),
  migrationState: virtualMachineInstanceMigrationState,
  synchronizationAddresses: list(string(), { merge: "atomic" }),
});

export const virtualMachineInstanceMigration = whole({
  spec: needed(virtualMachineInstanceMigrationSpec),
  status: virtualMachineInstanceMigrationStatus,
});
export type VirtualMachineInstanceMigration = Infer<typeof virtualMachineInstanceMigration>;
