import { experimentalMigrationOptions } from "../kubevirt/migration-state.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  boolean,
  int64,
  map,
  needed,
  nullable,
  object,
  quantity,
  string,
} from "../schema/schema.ts";

const selectors = object({
  namespaceSelector: map(string()),
  virtualMachineInstanceSelector: map(string()),
});

const migrationPolicySpec = object({
  selectors: needed(selectors),
  allowAutoConverge: boolean(),
  bandwidthPerMigration: quantity(),
  completionTimeoutPerGiB: int64(),
  maxDowntimeMs: int64({ minimum: 1, maximum: 2000000 }),
  allowPostCopy: boolean(),
  allowWorkloadDisruption: boolean(),
  experimental: experimentalMigrationOptions,
});

const migrationPolicyStatus = object({});

export const migrationPolicy = whole({
  spec: needed(migrationPolicySpec),
  status: nullable(migrationPolicyStatus),
});
export type MigrationPolicy = Infer<typeof migrationPolicy>;
