export { serveNodeApi } from "./node-api.ts";
export type { NodeApiDeps } from "./node-api.ts";
export { NodeMetrics } from "./node-metrics.ts";
export type { ViewFigures } from "./lxcfs-metrics.ts";
export type { GatewaySummary, RouteSummary } from "./optional-parts.ts";
export { listenDoor } from "./door/listen-door.ts";
export type { DoorServer } from "./door/serve-door.ts";
