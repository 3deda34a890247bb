import type { VirtualMachineInstanceReplicaSet } from "../kubevirt/replica-set.ts";
import { checkInstanceSpec } from "./instance.ts";
import type { Report } from "./report.ts";
import { checkSelector } from "./scheduling.ts";
import { checkTemplateMetadata } from "./template-metadata.ts";

export function checkReplicaSet(of: VirtualMachineInstanceReplicaSet, report: Report): void {
  const { replicas = 1, selector, template } = of.spec;
  if (replicas < 0) report.invalid("spec.replicas", `is ${replicas}, must not be negative`);
  checkSelector(selector, "spec.selector", report);
  const labels = template.metadata?.labels ?? {};
  checkTemplateMetadata(template.metadata, "spec.template.metadata", report);
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labels[key] === value) continue;
    report.invalid("spec.selector", `wants the label ${key}=${value}, which the template has not`);
  }
  if (
    Object.keys(selector.matchLabels ?? {}).length + (selector.matchExpressions ?? []).length ===
    0
  ) {
    report.required("spec.selector", "must select the template's labels");
  }
  if (template.spec === undefined) report.required("spec.template.spec");
  else checkInstanceSpec(template.spec, "spec.template.spec", { instancetype: false }, report);
}
