import type { MachineSpec } from "@trine/vmm";

/**
 * Of a virtio device on the root bus that has both interfaces: today's alone, or with that of before virtio 1.0, which takes
 * ports of the guest's I/O space.
 */
export function generation({ hardware }: Pick<MachineSpec, "hardware">): {
  readonly "disable-legacy": boolean;
} {
  return { "disable-legacy": hardware?.transitional !== true };
}
