export { nocloudSeed } from "./nocloud-seed.ts";
export type {
  GuestInterface,
  GuestNetwork,
  GuestRoute,
  SeedFile,
  SeedInput,
} from "./seed-types.ts";
