import { type Infer, boolean, map, object, oneOf, quantity, string } from "../schema/schema.ts";

export const hugepages = object({ pageSize: string() });

const reservedOverhead = object({
  addedOverhead: quantity(),
  memLock: oneOf(["NotRequired", "Required"]),
});

export const memory = object({
  hugepages,
  guest: quantity(),
  maxGuest: quantity(),
  reservedOverhead,
});
export type Memory = Infer<typeof memory>;

export const resourceRequirements = object({
  requests: map(quantity()),
  limits: map(quantity()),
  overcommitGuestOverhead: boolean(),
});
