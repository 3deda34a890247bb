import type { SlotName } from "@trine/vmm";

/** A container's root on two disks of its guest. */
export interface DiskRoot {
  /** The image's erofs file. Containers with the same one share a slot. */
  readonly image: string;
  readonly lower: SlotName;
  /** The file with the writable layer, in the container's own snapshot. */
  readonly layer: string;
  readonly upper: SlotName;
}
