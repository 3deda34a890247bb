// Instance types and preferences: what they say becomes the machine's, and what is inert there is inert here.
import { group } from "./field-group.ts";
import type { FieldGroup } from "./field-group.ts";
import { expands, onMachines, prefers } from "./proof.ts";

const TYPES = onMachines(
  "the instance types and preferences that ship are taken, and u1.small makes a machine of its size",
);
const EACH = [
  "packages/instancetypes/src/every-field.test.ts",
  "every field of an instance type changes a machine or contradicts it",
] as const;
const EACH_PREFERRED = [
  "packages/instancetypes/src/every-field.test.ts",
  "every field of a preference changes a machine, or is followed elsewhere",
] as const;

export const INSTANCETYPE: readonly FieldGroup[] = [
  group(
    "all it says",
    ["spec"],
    [expands("a machine takes all that its instance type says"), EACH, TYPES],
    {
      but: "as the machine's own fields",
    },
  ),
];

export const PREFERENCE: readonly FieldGroup[] = [
  group("all it says", ["spec"], [prefers("%s"), EACH_PREFERRED, TYPES], {
    but: "as the machine's own fields",
  }),
  group("requirements", ["spec.requirements"], [prefers("%j of %j that says %j lacks %s")]),
  group("storage class of volumes that are made", ["spec.volumes"], [], {
    but: "a volume says its own, or has the cluster's default",
  }),
  group("displays of GPUs", ["spec.devices.preferredVirtualGPUOptions"], [], {
    but: "the display is the machine's own",
  }),
];
