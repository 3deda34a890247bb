import { expect, test } from "vitest";
import { instanceFaults, refusals } from "../testing.ts";
import { RESOURCES_FAULTS } from "../testing/faults/resources.ts";

test.each(refusals(RESOURCES_FAULTS))("$what is refused", ({ fields, faults }) => {
  expect(instanceFaults(fields)).toEqual(faults);
});
