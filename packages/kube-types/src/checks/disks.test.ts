import { expect, test } from "vitest";
import { instanceFaults, refusals } from "../testing.ts";
import { DISKS_FAULTS } from "../testing/faults/disks.ts";

test.each(refusals(DISKS_FAULTS))("$what is refused", ({ fields, faults }) => {
  expect(instanceFaults(fields)).toEqual(faults);
});
