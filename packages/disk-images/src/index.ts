export type { ImageInfo, ImageLimits } from "./image-info.ts";
export { inspectImage } from "./inspect-image.ts";
export { findMachineDisk } from "./find-machine-disk.ts";
export { createOverlay } from "./create-overlay.ts";
export type { OverlayOptions } from "./create-overlay.ts";
export { buildIso9660 } from "./build-iso9660.ts";
export type { IsoFile } from "./iso-tree.ts";
export { writeImageLayout } from "./write-image-layout.ts";
export type { ImageLayoutInput, ImageLayoutResult } from "./write-image-layout.ts";
