import {
  type Cause,
  type ClusterDefaults,
  type Devices,
  type VirtualMachineInstanceSpec,
  allDisks,
  defaultNetworks,
} from "@trine/kube-types";
import { applyInstancetype } from "./apply-instancetype.ts";
import { applyPreference } from "./apply-preference.ts";
import { conflictsOf } from "./conflicts.ts";
import { preferAttached } from "./prefer-devices.ts";
import type { Applied, InstancetypeSpec, PreferenceSpec, Template } from "./specs.ts";
import { topologyOf, unevenSpread } from "./topology.ts";

/** What a machine was given by name. */
export interface Choice {
  readonly instancetype?: InstancetypeSpec | undefined;
  readonly preference?: PreferenceSpec | undefined;
}

/**
 * A machine with its instance type and its preference: the instance type's fields must not be said by the machine too,
 * the preference's are taken where the machine says nothing. `at` is the path of the machine's spec, for conflicts.
 */
export function applyChoice(
  { instancetype, preference }: Choice,
  template: Template,
  at: string,
  defaults: Pick<ClusterDefaults, "networkBinding">,
): Applied {
  const topology = topologyOf(preference);
  if (instancetype !== undefined) {
    const uneven = unevenSpread(instancetype.cpu.guest, topology);
    const [first, ...others] =
      uneven === undefined ? conflictsOf(instancetype, template, at) : [unevenCause(uneven)];
    if (first !== undefined) return { conflicts: [first, ...others] };
  }
  const spec = withUnnamedDevices(template.spec, preference, defaults);
  const whole = { ...template, spec };
  const sized =
    instancetype === undefined ? whole : applyInstancetype(instancetype, topology, whole);
  return { template: preference === undefined ? sized : applyPreference(preference, sized) };
}

function unevenCause(message: string): Cause {
  return { reason: "FieldValueInvalid", field: "instancetype.spec.cpu.guest", message };
}

/** Disks, networks and inputs that come of themselves: they must be there for a preference to act on them. */
function withUnnamedDevices(
  spec: VirtualMachineInstanceSpec,
  preference: PreferenceSpec | undefined,
  defaults: Pick<ClusterDefaults, "networkBinding">,
): VirtualMachineInstanceSpec {
  const attached = preferAttached(spec.domain.devices, preference?.devices ?? {});
  const disks = allDisks(attached, spec.volumes ?? []);
  const devices: Devices = {
    ...attached,
    ...(disks.length > 0 && { disks }),
    ...attachedInput(attached),
  };
  return defaultNetworks({ ...spec, domain: { ...spec.domain, devices } }, defaults);
}

function attachedInput({ autoattachInputDevice = false, inputs = [] }: Devices): Partial<Devices> {
  if (!autoattachInputDevice || inputs.length > 0) return {};
  return { inputs: [{ name: "default-0", type: "" }] };
}
