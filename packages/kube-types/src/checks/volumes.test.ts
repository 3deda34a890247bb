import { expect, test } from "vitest";
import { instanceFaults, refusals } from "../testing.ts";
import { VOLUMES_FAULTS } from "../testing/faults/volumes.ts";

test.each(refusals(VOLUMES_FAULTS))("$what is refused", ({ fields, faults }) => {
  expect(instanceFaults(fields)).toEqual(faults);
});
