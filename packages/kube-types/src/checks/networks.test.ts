import { expect, test } from "vitest";
import { instanceFaults, refusals } from "../testing.ts";
import { NETWORKS_FAULTS } from "../testing/faults/networks.ts";

test.each(refusals(NETWORKS_FAULTS))("$what is refused", ({ fields, faults }) => {
  expect(instanceFaults(fields)).toEqual(faults);
});
