import type { ViewsGiver } from "@trine/cri-gateway";
import type { Engine } from "@trine/engine";
import type { NodeMetrics, ViewFigures } from "@trine/node-api";
import type { KeptPlugin, NriPlugin } from "@trine/nri";
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
  /** For the gateway: views of back ends that have no NRI. */
  readonly giver: Omit<ViewsGiver, "backEnds">;
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
  const { Views, nriViews } = await import("@trine/lxcfs");
  const { dir, pidFile, helper, handlers, default: byDefault, nri } = config;
  const own = log.child({ component: "lxcfs" });
  const isMachine = (podId: string): boolean => engine.has(podId);
  const views = new Views({
    ...{ dir, pidFile, helper, log: own },
    rules: { handlers, byDefault, isMachine },
  });
  const plugin = await pluginOf(nriViews(views), nri, own);
  const figures = (): ViewFigures => ({
    ...views.state(),
    ...(plugin && { nri: plugin.notConnected() === undefined }),
  });
  metrics.watchViews(figures);
  return {
    figures,
    giver: {
      offer: (pod, container) => views.offer(pod, container),
      seen: (pod, container) => {
        views.seen(pod, container);
      },
      removed: (id) => {
        views.removed(id);
      },
    },
    stop: async () => {
      await plugin?.stop();
      await views.stop();
    },
  };
}

/** Undefined where no runtime of this node has NRI. */
async function pluginOf(
  plugin: NriPlugin,
  socket: string,
  log: Logger,
): Promise<KeptPlugin | undefined> {
  if (socket === "") return undefined;
  const { keepPlugin } = await import("@trine/nri");
  return keepPlugin(plugin, { socket, log });
}
