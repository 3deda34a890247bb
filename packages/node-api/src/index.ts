export { serveNodeApi } from "./node-api.ts";
export type { NodeApiDeps } from "./node-api.ts";
export { NodeMetrics } from "./node-metrics.ts";
