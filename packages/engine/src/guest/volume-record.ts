import type { SlotName } from "@trine/vmm";

/** A block device of the node on a disk of the guest. */
export interface VolumeRecord {
  readonly slot: SlotName;
  readonly major: number;
  readonly minor: number;
  readonly readOnly: boolean;
  /** Its size as the guest was last told. */
  bytes: number;
}
