import type { Gateway } from "@trine/cri-gateway";
import type { NodeMetrics } from "@trine/node-api";
import type { Logger } from "pino";
import type { Config } from "./config.ts";

/** Undefined on nodes whose configuration names no back end: nothing of the gateway is loaded there. */
export async function startGateway(
  config: Config["gateway"],
  metrics: NodeMetrics,
  log: Logger,
): Promise<Gateway | undefined> {
  if (config.backEnds.length === 0) return undefined;
  const { Gateway: loaded } = await import("@trine/cri-gateway");
  const observe = metrics.watchGateway(() => gateway.backEnds());
  const gateway = await loaded.start({
    config,
    log: log.child({ component: "gateway" }),
    onCall: observe,
  });
  log.info({ socket: config.socket, backEnds: config.backEnds }, "gateway serves CRI");
  return gateway;
}
