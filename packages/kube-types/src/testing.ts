// What tests of this package and of those above it have in common.
export {
  DUPLICATE,
  GOOD_INSTANCE,
  INVALID,
  REQUIRED,
  UNSUPPORTED,
  instanceFaults,
  refusals,
  specFaults,
  withFields,
} from "./testing/objects.ts";
export type { ByPath, FaultRow } from "./testing/objects.ts";
export { FAULTY_OBJECTS } from "./testing/faulty-objects.ts";
export type { FaultyObject } from "./testing/faulty-objects.ts";
