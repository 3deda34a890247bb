import { TrineError } from "@trine/base";
import type { MachineSpec, ProcessPlan } from "@trine/vmm";
import type { DescriptorTable } from "./descriptor-table.ts";

/** A clone waits for its state, a descriptor after all others: those are numbered as its template's are. */
export function originArguments(spec: MachineSpec, table: DescriptorTable): string[] {
  if (spec.origin === undefined) return [];
  table.add({ kind: "file", path: spec.origin.template.statePath, writable: false });
  return ["-incoming", "defer"];
}

export function stateDescriptor(
  origin: NonNullable<MachineSpec["origin"]>,
  plan: ProcessPlan,
): number {
  const { statePath } = origin.template;
  const state = plan.descriptors.find((each) => each.kind === "file" && each.path === statePath);
  if (state === undefined) throw new TrineError("internal", `no descriptor for ${statePath}`);
  return state.number;
}
