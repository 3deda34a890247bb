import { virtualMachineSpec } from "./machine-spec.ts";
import { virtualMachineStatus } from "./machine-status.ts";
import { whole } from "../schema/kind.ts";
import { type Infer, needed } from "../schema/schema.ts";

export const virtualMachine = whole({
  spec: needed(virtualMachineSpec),
  status: virtualMachineStatus,
});
export type VirtualMachine = Infer<typeof virtualMachine>;
