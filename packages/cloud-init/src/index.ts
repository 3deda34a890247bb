export { nocloudSeed } from "./nocloud-seed.ts";
export type {
  GuestInterface,
  GuestNetwork,
  GuestRoute,
  SeedFile,
  SeedInput,
} from "./seed-types.ts";
export { shareHook } from "./share-hook.ts";
export type { GuestMount } from "./share-hook.ts";
