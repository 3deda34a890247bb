import type { VirtualMachineInstanceSpec } from "@trine/kube-types";
import type { VirtApiDeps } from "../deps.ts";

/** What a user should know of a machine that is accepted. */
export function inertWarnings(
  { inertFields }: Pick<VirtApiDeps, "inertFields">,
  spec: VirtualMachineInstanceSpec,
  at: string,
): string[] {
  return inertFields(spec, at).map((field) => `${field} is kept, but not acted on`);
}
