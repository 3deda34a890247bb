import type { Cache, EventRecorder, KubeClient, Secret } from "@trine/kube-client";
import type { Logger } from "pino";
import type { Config } from "./config.ts";
import type { ControlMetrics } from "./metrics.ts";
import type { Settings } from "./settings.ts";

/** What both roles have in common in one process. */
export interface ControlProcess {
  readonly config: Config;
  readonly client: KubeClient;
  /** Of our own namespace. */
  readonly secrets: Cache<Secret>;
  readonly events: EventRecorder;
  readonly metrics: ControlMetrics;
  /** Of the KubeVirt object. */
  readonly settings: Settings;
  readonly logger: Logger;
  readonly version: string;
}

/** Runs all of it; where one part fails the others are ended, and its failure is the whole's. */
export async function together(
  parts: readonly ((signal: AbortSignal) => Promise<void>)[],
  signal: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const both = AbortSignal.any([signal, failed.signal]);
  const ends = await Promise.allSettled(
    parts.map(async (part) => {
      try {
        await part(both);
      } catch (cause) {
        failed.abort(cause);
        throw cause;
      }
    }),
  );
  // The first that failed has ended the others: its reason counts.
  if (failed.signal.aborted) throw failed.signal.reason;
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}
