import type { Engine } from "@trine/engine";
import type { NodeMetrics, ViewFigures } from "@trine/node-api";
import type { Logger } from "pino";
import type { Config } from "./config.ts";

export interface ViewsDeps {
  readonly config: Config["lxcfs"];
  readonly metrics: Pick<NodeMetrics, "watchViews">;
  readonly log: Logger;
  readonly engine: Pick<Engine, "has">;
}

export interface KeptViews {
  readonly figures: () => ViewFigures;
  readonly stop: () => Promise<void>;
}

/** Views of containers' limits; undefined on nodes that do not want them: nothing of it is loaded there. */
export async function keepViews({
  config,
  metrics,
  log,
  engine,
}: ViewsDeps): Promise<KeptViews | undefined> {
  if (!config.enabled) return undefined;
  const [{ Views }, { keepPlugin }] = await Promise.all([
    import("@trine/lxcfs"),
    import("@trine/nri"),
  ]);
  const { dir, pidFile, helper, handlers, default: byDefault, nri } = config;
  const own = log.child({ component: "lxcfs" });
  const isMachine = (podId: string): boolean => engine.has(podId);
  const views = new Views({
    ...{ dir, pidFile, helper, log: own },
    rules: { handlers, byDefault, isMachine },
  });
  const plugin = keepPlugin(views, { socket: nri, log: own });
  const figures = (): ViewFigures => ({
    ...views.state(),
    nri: plugin.notConnected() === undefined,
  });
  metrics.watchViews(figures);
  return {
    figures,
    stop: async () => {
      await plugin.stop();
      await views.stop();
    },
  };
}
