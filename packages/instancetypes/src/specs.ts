import type {
  Cause,
  VirtualMachineInstanceSpec,
  VirtualMachineInstancetype,
  VirtualMachinePreference,
} from "@trine/kube-types";

/** The same in a namespace and for the whole cluster. */
export type InstancetypeSpec = VirtualMachineInstancetype["spec"];
export type PreferenceSpec = VirtualMachinePreference["spec"];

/** What instance type and preference are applied to: a machine's spec and its annotations. */
export interface Template {
  readonly spec: VirtualMachineInstanceSpec;
  readonly annotations: Readonly<Record<string, string>>;
}

/** The template with all that was applied, or what speaks against it. */
export type Applied =
  | { readonly template: Template; readonly conflicts?: never }
  | { readonly conflicts: readonly [Cause, ...Cause[]]; readonly template?: never };
