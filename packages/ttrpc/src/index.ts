export { TtrpcClient } from "./client.ts";
export { TtrpcServer } from "./server.ts";
export type { TtrpcServerOptions } from "./server.ts";
export type { CallName, ErrorListener } from "./server-call.ts";
export type { CallContext, CallOptions, ServiceClient, ServiceHandlers } from "./service-types.ts";
