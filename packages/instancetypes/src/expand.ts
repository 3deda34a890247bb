import { type ClusterDefaults, type VirtualMachine, defaultInstanceSpec } from "@trine/kube-types";
import { type Choice, applyChoice } from "./apply.ts";
import { without } from "./prefer.ts";
import type { Applied } from "./specs.ts";

/** The machine on its own, or what speaks against it. */
export type Expanded =
  | { readonly machine: VirtualMachine; readonly conflicts?: never }
  | { readonly conflicts: NonNullable<Applied["conflicts"]>; readonly machine?: never };

/**
 * A machine that needs neither instance type nor preference any more: both written into its template, with the
 * cluster's defaults for the rest. `uuid` is its firmware's where it has none.
 */
export function expandMachine(
  machine: VirtualMachine,
  choice: Choice,
  defaults: ClusterDefaults,
  uuid: string,
): Expanded {
  const { instancetype, preference, template, ...rest } = machine.spec;
  const said = template.spec;
  if (said === undefined || (instancetype === undefined && preference === undefined)) {
    return { machine };
  }
  const annotations = template.metadata?.annotations ?? {};
  const applied = applyChoice(choice, { spec: said, annotations }, "spec.template.spec", defaults);
  if (applied.conflicts !== undefined) return applied;
  const spec = defaultInstanceSpec(applied.template.spec, defaults, uuid);
  const metadata = { ...template.metadata, annotations: applied.template.annotations };
  return {
    machine: {
      ...machine,
      spec: { ...rest, template: { ...template, metadata, spec } },
      ...(machine.status !== undefined && {
        status: without(machine.status, "instancetypeRef", "preferenceRef"),
      }),
    },
  };
}
