import type { ClusterApi, Tell } from "./cluster-api.ts";

export interface UninstallOptions {
  /** Machines and DataVolumes go too, with their data. */
  readonly removeMachines: boolean;
  readonly dryRun: boolean;
  /** How long each step may wait for what others do. */
  readonly timeoutMs: number;
  readonly tell: Tell;
}

/** What each step works with. */
export interface Uninstall extends UninstallOptions {
  readonly api: ClusterApi;
  readonly namespace: string;
  readonly signal: AbortSignal;
}
