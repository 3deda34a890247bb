import { isDeepStrictEqual } from "node:util";
import { type Choice, applyChoice } from "@trine/instancetypes";
import { CLUSTER_DEFAULTS, type VirtualMachineInstanceSpec } from "@trine/kube-types";
import type { Seen } from "./seen.ts";

/** Whether the template says the same as when the machine was started. False when that is not known. */
export function isTemplateSame({ vm, started }: Seen): boolean {
  if (started === undefined) return false;
  return isDeepStrictEqual(started.spec.template.spec, vm.spec.template.spec);
}

/**
 * Whether the machine runs as what it is no more. Instance types and preferences are looked through: what they make of
 * the template counts. Nothing changes while a machine runs: that would need its migration.
 */
export function isRestartRequired(seen: Seen): boolean {
  const { vm, vmi, started, choice } = seen;
  if (vmi === undefined || started === undefined) return false;
  const now = wholeSpec(vm.spec.template.spec, choice);
  const then = wholeSpec(started.spec.template.spec, started.choice);
  if (now === undefined || then === undefined) return false;
  const uuid = vmi.spec.domain.firmware?.uuid;
  return !isDeepStrictEqual(withIdentity(then, uuid), withIdentity(now, uuid));
}

function wholeSpec(
  spec: VirtualMachineInstanceSpec | undefined,
  choice: Choice,
): VirtualMachineInstanceSpec | undefined {
  if (spec === undefined) return undefined;
  const applied = applyChoice(choice, { spec, annotations: {} }, "spec", CLUSTER_DEFAULTS);
  return applied.template?.spec;
}

/** A template without an identity means the one that its instance has. */
function withIdentity(
  spec: VirtualMachineInstanceSpec,
  uuid: string | undefined,
): VirtualMachineInstanceSpec {
  const { domain } = spec;
  const own = domain.firmware?.uuid ?? uuid;
  if (own === undefined) return spec;
  return { ...spec, domain: { ...domain, firmware: { ...domain.firmware, uuid: own } } };
}
