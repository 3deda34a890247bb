import { parseQuantity } from "@trine/base";
import type { CPU, Cause, VirtualMachineInstanceSpec } from "@trine/kube-types";
import type { InstancetypeSpec, PreferenceSpec } from "./specs.ts";
import { type Axis, topologyOf } from "./topology.ts";

const SPEC = "spec.template.spec";

/** What a machine has, from its instance type or of its own. */
interface Machine {
  readonly type: InstancetypeSpec | undefined;
  readonly spec: VirtualMachineInstanceSpec;
}

/** The first requirement of the preference that the machine does not meet, as KubeVirt tells it. */
export function unmetRequirement(
  preference: PreferenceSpec | undefined,
  machine: Machine,
): Cause | undefined {
  if (preference?.requirements === undefined) return undefined;
  return (
    lackingProcessors(preference, machine) ??
    lackingMemory(preference, machine) ??
    otherArchitecture(preference, machine)
  );
}

function unmet(fields: readonly string[], why: string): Cause {
  const message = `failure checking preference requirements: ${why}`;
  return { reason: "FieldValueNotFound", field: fields.join(", "), message };
}

function lackingProcessors(preference: PreferenceSpec, { type, spec }: Machine): Cause | undefined {
  const needed = preference.requirements?.cpu?.guest;
  if (needed === undefined) return undefined;
  if (type !== undefined) {
    if (type.cpu.guest >= needed) return undefined;
    return unmet(
      ["spec.instancetype"],
      `insufficient CPU resources of ${type.cpu.guest} vCPU provided by instance type, preference requires ${needed} vCPU`,
    );
  }
  const { cpu } = spec.domain;
  if (cpu === undefined) {
    return unmet(
      [`${SPEC}.domain.cpu`],
      `no CPU resources provided by VirtualMachine, preference requires ${needed} vCPU`,
    );
  }
  const { axes, name } = countedAxes(preference);
  const count = axes.reduce((product, axis) => product * (cpu[axis] ?? 0), 1);
  if (count >= needed) return undefined;
  return unmet(
    axes.map((axis: keyof CPU) => `${SPEC}.domain.cpu.${axis}`),
    `insufficient CPU resources of ${count} vCPU provided by VirtualMachine, preference requires ${needed} vCPU provided as ${name}`,
  );
}

/** Which of sockets, cores and threads count for the topology that is preferred. */
function countedAxes(preference: PreferenceSpec): { axes: readonly Axis[]; name: string } {
  const topology = topologyOf(preference);
  if (!("all" in topology)) return { axes: topology.over, name: topology.across };
  if (topology.all !== "any") return { axes: [topology.all], name: topology.all };
  return { axes: ["cores", "sockets", "threads"], name: "cores, sockets and threads" };
}

function lackingMemory(preference: PreferenceSpec, { type, spec }: Machine): Cause | undefined {
  const needed = preference.requirements?.memory?.guest;
  if (needed === undefined) return undefined;
  const there = spec.domain.memory?.guest ?? type?.memory.guest ?? "0";
  const bytes = (quantity: number | string): bigint => parseQuantity(String(quantity)) ?? 0n;
  if (bytes(there) >= bytes(needed)) return undefined;
  const provider = type === undefined ? "VirtualMachine" : "instance type";
  return unmet(
    [type === undefined ? `${SPEC}.domain.memory` : "spec.instancetype"],
    `insufficient Memory resources of ${there} provided by ${provider}, preference requires ${needed}`,
  );
}

function otherArchitecture(preference: PreferenceSpec, { spec }: Machine): Cause | undefined {
  const needed = preference.requirements?.architecture;
  if (needed === undefined || needed === spec.architecture) return undefined;
  return unmet(
    [`${SPEC}.architecture`],
    `preference requires architecture ${needed} but ${spec.architecture ?? ""} is being requested`,
  );
}
