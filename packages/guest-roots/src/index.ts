export { GuestRoots } from "./guest-roots.ts";
export type { GuestRootsOptions, RootAnswer, RootSource } from "./guest-roots.ts";
export type { SnapshotMount } from "./overlay-root.ts";
