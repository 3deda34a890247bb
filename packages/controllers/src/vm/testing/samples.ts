// Machines, their instances and what else is seen of them, for tables.
import type {
  DataVolume,
  VirtualMachineInstanceStatus,
  VirtualMachineSpec,
  VirtualMachineStatus,
} from "@trine/kube-types";
import { CLUSTER_DEFAULTS, MACHINE_FINALIZER } from "@trine/kube-types";
import { instance } from "../../testing.ts";
import { ownedBy } from "../../owner.ts";
import { sighted } from "../live-change.ts";
import type { Facts, Instance, Machine, Seen } from "../seen.ts";

export const NOW = new Date("2026-01-02T04:00:00Z");
const MACHINE_UID = "b7b0c1de-6c54-4b9a-8f4c-0ac2a2f0c7aa";

export function machine(
  spec: Partial<VirtualMachineSpec> = { runStrategy: "Always" },
  of: { readonly status?: VirtualMachineStatus; readonly metadata?: object } = {},
): Machine {
  return {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachine",
    metadata: {
      name: "web",
      namespace: "shop",
      uid: MACHINE_UID,
      resourceVersion: "9",
      generation: 1,
      finalizers: [MACHINE_FINALIZER],
      ...of.metadata,
    },
    spec: { template: { spec: instance().spec }, ...spec },
    ...(of.status !== undefined && { status: of.status }),
  };
}

export function instanceIn(status: VirtualMachineInstanceStatus, metadata: object = {}): Instance {
  const made = instance();
  const own = { ...made.metadata, ownerReferences: [ownedBy(machine())], ...metadata };
  return { ...made, metadata: own, status };
}

export function seen(of: Partial<Facts> = {}): Seen {
  return sighted({
    vm: machine(),
    vmi: undefined,
    orphan: undefined,
    isTaken: false,
    choice: {},
    started: undefined,
    dataVolume: () => undefined,
    claim: () => undefined,
    ...{ defaults: CLUSTER_DEFAULTS, now: NOW },
    ...of,
  });
}

export function volumeIn(phase: string, conditions: readonly object[] = []): DataVolume {
  return { metadata: { name: "dv" }, spec: {}, status: { phase, conditions: conditions as never } };
}
