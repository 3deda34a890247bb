import { labelSelector } from "../kubernetes/selectors.ts";
import { domainSpec } from "./domain.ts";
import { virtualMachineInstanceSpec } from "./instance-spec.ts";
import { virtualMachineInstanceStatus } from "./instance-status.ts";
import { whole } from "../schema/kind.ts";
import { type Infer, needed, object } from "../schema/schema.ts";

export const virtualMachineInstance = whole({
  spec: needed(virtualMachineInstanceSpec),
  status: virtualMachineInstanceStatus,
});
export type VirtualMachineInstance = Infer<typeof virtualMachineInstance>;

const virtualMachineInstancePresetSpec = object({
  selector: needed(labelSelector),
  domain: domainSpec,
});

export const virtualMachineInstancePreset = whole({ spec: virtualMachineInstancePresetSpec });
export type VirtualMachineInstancePreset = Infer<typeof virtualMachineInstancePreset>;
