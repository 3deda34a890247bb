import { expect, test } from "vitest";
import { specFaults, refusals, type ByPath } from "../testing.ts";
import { MACHINE_FAULTS, machine, used, sized } from "../testing/faults/machine.ts";

test.each(refusals(MACHINE_FAULTS))("$what is refused", ({ fields, faults }) => {
  expect(specFaults(machine, fields)).toEqual(faults);
});

test.each<[string, ByPath]>([
  ["the least", {}],
  ["the old switch", { running: false, runStrategy: undefined }],
  ["an instance type", sized],
  [
    "an instance type by its plural",
    { ...sized, "instancetype.kind": "virtualmachineclusterinstancetypes" },
  ],
  ["an instance type from a volume", { ...sized, instancetype: { inferFromVolume: "root" } }],
  ["a data volume of its own", used],
  [
    "a data volume by its claim",
    {
      ...used,
      "template.spec.volumes[0]": { name: "root", persistentVolumeClaim: { claimName: "d" } },
    },
  ],
])("%s is taken", (_, fields) => {
  expect(specFaults(machine, fields)).toEqual([]);
});
