import { expect, test } from "vitest";
import { instanceFaults, refusals } from "../testing.ts";
import { FIRMWARE_FAULTS } from "../testing/faults/firmware.ts";

test.each(refusals(FIRMWARE_FAULTS))("$what is refused", ({ fields, faults }) => {
  expect(instanceFaults(fields)).toEqual(faults);
});
