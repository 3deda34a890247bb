import { expect, test } from "vitest";
import { instanceFaults, refusals } from "../testing.ts";
import { DEVICES_FAULTS } from "../testing/faults/devices.ts";

test.each(refusals(DEVICES_FAULTS))("$what is refused", ({ fields, faults }) => {
  expect(instanceFaults(fields)).toEqual(faults);
});
