// CDI's kinds, field by field where something acts on them.
import { group } from "./field-group.ts";
import type { FieldGroup } from "./field-group.ts";
import { infers, steps } from "./proof.ts";

const status = (...names: readonly string[]): string[] => names.map((name) => `status.${name}`);

export const DATA_VOLUME_FIELDS: readonly FieldGroup[] = [
  group("where its bytes come from and go to", ["spec"], [], { but: "nothing fills volumes yet" }),
  group("phase", status("phase", "claimName"), [steps("volumes are %s")], {
    but: "read from another writer; not written",
  }),
  group("how it went", ["status"], [], { but: "nothing is written" }),
];

export const DATA_SOURCE_FIELDS: readonly FieldGroup[] = [
  group(
    "its source, and the labels on it",
    ["spec", "status.source"],
    [infers("is inferred from %s")],
    {
      but: "read where an instance type is inferred from a volume",
    },
  ),
  group("how it went", ["status"], [], { but: "nothing is written" }),
];
