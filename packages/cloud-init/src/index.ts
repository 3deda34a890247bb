export { AGENT_FILE, agentHook } from "./agent-hook.ts";
export { configDriveSeed } from "./config-drive-seed.ts";
export { fileHook } from "./file-hook.ts";
export type { GuestFile } from "./file-hook.ts";
export { FORGET_HOOK } from "./forget-hook.ts";
export { hostsHook } from "./hosts-hook.ts";
export {
  cloudConfigOf,
  cloudConfigText,
  mergeCloudConfig,
  readCloudConfig,
} from "./merge-user-data.ts";
export { nocloudSeed } from "./nocloud-seed.ts";
export type {
  GuestInterface,
  GuestNetwork,
  GuestRoute,
  SeedFile,
  SeedInput,
} from "./seed-types.ts";
export { shareHook } from "./share-hook.ts";
export type { GuestFileSystem, GuestMount } from "./share-hook.ts";
export { vendorDataOf } from "./vendor-data.ts";
export { isCloudConfig } from "./user-data.ts";
