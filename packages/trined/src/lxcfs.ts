import { join } from "node:path";
import type { ViewsGiver } from "@trine/cri-gateway";
import type { Engine } from "@trine/engine";
import type { CpuSets, ViewHappening } from "@trine/lxcfs";
import type { NodeMetrics, ViewFigures } from "@trine/node-api";
import type { KeptPlugin, NriPlugin } from "@trine/nri";
import type { Logger } from "pino";
import type { Config } from "./config.ts";

export interface ViewsDeps {
  readonly config: Config["lxcfs"];
  readonly metrics: Pick<NodeMetrics, "watchViews">;
  readonly log: Logger;
  readonly engine: Pick<Engine, "has">;
  /** As long as the containers: choices of CPUs are kept in it. */
  readonly stateDir: string;
  /** What pods' owners are told; absent: nothing but the log. */
  readonly onHappening?: ((happening: ViewHappening) => void) | undefined;
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
  stateDir,
  onHappening,
}: ViewsDeps): Promise<KeptViews | undefined> {
  if (!config.enabled) return undefined;
  const { CpuSets, Views, allowedCpus, nriViews } = await import("@trine/lxcfs");
  const { dir, pidFile, helper, handlers, default: byDefault, nri, cpuset } = config;
  const own = log.child({ component: "lxcfs" });
  const isMachine = (podId: string): boolean => engine.has(podId);
  const views = new Views({
    ...{ dir, pidFile, helper, log: own, onHappening },
    rules: { handlers, byDefault, isMachine },
  });
  const cpuSets =
    cpuset.handlers.length === 0
      ? undefined
      : new CpuSets({
          rules: { handlers: cpuset.handlers, byDefault: cpuset.default, isMachine },
          file: join(stateDir, "cpu-sets.json"),
          allowed: (cgroup) => allowedCpus(cgroup),
          log: own,
        });
  const plugin = await pluginOf(nriViews(views, cpuSets), nri, own);
  const figures = (): ViewFigures => ({
    ...views.state(),
    ...(plugin && { nri: plugin.notConnected() === undefined }),
  });
  metrics.watchViews(figures);
  return {
    figures,
    giver: {
      offer: (pod, container) => views.offer(pod, container),
      seen: (...told) => {
        views.seen(...told);
      },
      removed: (id) => {
        views.removed(id);
      },
      cpuSets: cpuSets && giverOf(cpuSets),
    },
    stop: async () => {
      await plugin?.stop();
      await views.stop();
    },
  };
}

function giverOf(sets: CpuSets): Exclude<ViewsGiver["cpuSets"], undefined> {
  return {
    offer: (...asked) => sets.offer(...asked),
    made: (...told) => {
      sets.made(...told);
    },
    resized: (...asked) => sets.resized(...asked),
    refused: (...told) => {
      sets.refused(...told);
    },
    seen: (...told) => {
      sets.seen(...told);
    },
    synchronizing: (source) => sets.synchronizing(source),
    podRemoved: (id) => {
      sets.podRemoved(id);
    },
    removed: (id) => {
      sets.removed(id);
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
