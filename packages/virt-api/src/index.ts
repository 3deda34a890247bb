export { webhookConfigurations } from "./admission/configurations.ts";
export type { HookClient } from "./admission/configurations.ts";
export { apiServices } from "./discovery/api-services.ts";
export type { AggregatedAt } from "./discovery/api-services.ts";
export type { Reviewer } from "./access/reviewer.ts";
export type { GuestfsInfo, VersionInfo, VirtApiDeps } from "./deps.ts";
export { serveVirtApi } from "./server/serve-virt-api.ts";
export type { ServeOptions, ServingCertificate, VirtApi } from "./server/serve-virt-api.ts";
export { serveUploads } from "./upload/serve-uploads.ts";
