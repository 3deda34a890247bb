import { virtualMachineInstance, virtualMachineInstancePreset } from "./kubevirt/instance.ts";
import { kubeVirt } from "./kubevirt/kubevirt.ts";
import { virtualMachine } from "./kubevirt/machine.ts";
import { virtualMachineInstanceMigration } from "./kubevirt/migration.ts";
import { virtualMachineInstanceReplicaSet } from "./kubevirt/replica-set.ts";
import { AGE, PHASE, READY, REPLICAS } from "./columns.ts";
import { kind } from "./schema/kind.ts";

const GROUP = "kubevirt.io";
const versions = [{ name: "v1" }, { name: "v1alpha3", deprecated: true }] as const;

export const VIRTUAL_MACHINE = kind(GROUP, "VirtualMachine", virtualMachine, {
  shortNames: ["vm", "vms"],
  versions,
  status: true,
  columns: [AGE, { name: "Status", type: "string", path: ".status.printableStatus" }, READY],
});

/** Without a status subresource: status is written with the object. */
export const VIRTUAL_MACHINE_INSTANCE = kind(
  GROUP,
  "VirtualMachineInstance",
  virtualMachineInstance,
  {
    shortNames: ["vmi", "vmis"],
    versions,
    columns: [
      AGE,
      PHASE,
      { name: "IP", type: "string", path: ".status.interfaces[0].ipAddress" },
      { name: "NodeName", type: "string", path: ".status.nodeName" },
      READY,
      condition("Live-Migratable", "LiveMigratable"),
      condition("Paused", "Paused"),
    ],
  },
);

export const VIRTUAL_MACHINE_INSTANCE_REPLICA_SET = kind(
  GROUP,
  "VirtualMachineInstanceReplicaSet",
  virtualMachineInstanceReplicaSet,
  { shortNames: ["vmirs", "vmirss"], versions, status: true, scale: true, columns: REPLICAS },
);

export const VIRTUAL_MACHINE_INSTANCE_MIGRATION = kind(
  GROUP,
  "VirtualMachineInstanceMigration",
  virtualMachineInstanceMigration,
  {
    shortNames: ["vmim", "vmims"],
    versions,
    status: true,
    columns: [PHASE, { name: "VMI", type: "string", path: ".spec.vmiName" }],
  },
);

export const VIRTUAL_MACHINE_INSTANCE_PRESET = kind(
  GROUP,
  "VirtualMachineInstancePreset",
  virtualMachineInstancePreset,
  {
    shortNames: ["vmipreset", "vmipresets"],
    versions: [
      { name: "v1alpha3", deprecated: true },
      { name: "v1", deprecated: true },
    ],
  },
);

export const KUBEVIRT = kind(GROUP, "KubeVirt", kubeVirt, {
  shortNames: ["kv", "kvs"],
  versions,
  status: true,
  columns: [AGE, PHASE],
});

function condition(
  name: string,
  type: string,
): { name: string; type: "string"; path: string; wide: true } {
  return {
    name,
    type: "string",
    path: `.status.conditions[?(@.type=='${type}')].status`,
    wide: true,
  };
}
