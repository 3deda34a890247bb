import { boolean, int64, object, quantity, string } from "../schema/schema.ts";

export const migrationConfiguration = object({
  nodeDrainTaintKey: string(),
  parallelOutboundMigrationsPerNode: int64({ minimum: 0, maximum: 4294967295 }),
  parallelMigrationsPerCluster: int64({ minimum: 0, maximum: 4294967295 }),
  allowAutoConverge: boolean(),
  bandwidthPerMigration: quantity(),
  completionTimeoutPerGiB: int64(),
  maxDowntimeMs: int64({ minimum: 1, maximum: 2000000 }),
  progressTimeout: int64(),
  utilityVolumesTimeout: int64(),
  unsafeMigrationOverride: boolean(),
  allowPostCopy: boolean(),
  allowWorkloadDisruption: boolean(),
  disableTLS: boolean(),
  network: string(),
  matchSELinuxLevelOnMigration: boolean(),
});
