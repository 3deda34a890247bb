import { CLUSTER_DEFAULTS, type VirtualMachine } from "@trine/kube-types";
import type { Choice } from "./apply.ts";
import { type Expanded, expandMachine } from "./expand.ts";
import type { InstancetypeSpec } from "./specs.ts";

/** A machine of the instance type and the preference `chosen`, that says of itself what `domain` and `spec` say. */
export function machineWith(domain: object = {}, spec: object = {}): VirtualMachine {
  return {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachine",
    metadata: { name: "m", namespace: "n" },
    spec: {
      runStrategy: "Always",
      instancetype: { name: "chosen" },
      preference: { name: "chosen" },
      template: { spec: { domain: { devices: {}, ...domain }, ...spec } },
    },
  };
}

export function expanded(choice: Choice, machine: VirtualMachine): Expanded {
  return expandMachine(machine, choice, CLUSTER_DEFAULTS, "00000000-0000-4000-8000-000000000000");
}

/** An instance type of four processors and 8 GiB. */
export const FOUR: InstancetypeSpec = { cpu: { guest: 4 }, memory: { guest: "8Gi" } };
