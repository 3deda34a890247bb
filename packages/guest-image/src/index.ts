export { buildGuestImage } from "./build-guest-image.ts";
export { readGuestImage } from "./guest-manifest.ts";
export type { GuestFile, GuestImage, GuestManifest } from "./guest-manifest.ts";
export type { GuestFeature } from "./kernel-config.ts";
export type { KernelChoice } from "./kernel-files.ts";
export { writeGuestImage } from "./write-guest-image.ts";
export type { GuestImageOptions } from "./write-guest-image.ts";
