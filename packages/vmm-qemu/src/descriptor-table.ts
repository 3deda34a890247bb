import type { PlannedDescriptor } from "@trine/vmm";

/** `Omit` that keeps the members of a union apart. */
type Unnumbered<T> = T extends unknown ? Omit<T, "number"> : never;

/** Numbers a child's descriptors, from 3 without gaps. */
export class DescriptorTable {
  readonly #descriptors: PlannedDescriptor[] = [];

  add(descriptor: Unnumbered<PlannedDescriptor>): number {
    const number = 3 + this.#descriptors.length;
    this.#descriptors.push({ number, ...descriptor });
    return number;
  }

  get all(): readonly PlannedDescriptor[] {
    return this.#descriptors;
  }
}
