import type { VirtualMachineInstance } from "../kubevirt/instance.ts";
import type { VirtualMachine } from "../kubevirt/machine.ts";
import { defaultInstanceSpec } from "./instance-spec.ts";
import type { ClusterDefaults } from "./settings.ts";

/** What is new in each object. */
export interface Fresh {
  /** Makes a random UUID. */
  readonly uuid: () => string;
  readonly now: Date;
}

/** Holds an instance until its pod is gone. */
export const INSTANCE_FINALIZER = "kubevirt.io/foregroundDeleteVirtualMachine";

/** Holds a machine until its instance is gone. */
export const MACHINE_FINALIZER = "kubevirt.io/virtualMachineControllerFinalize";

/** A new instance, filled in: Pending, with what its status says from the first moment on. */
export function defaultInstance(
  instance: VirtualMachineInstance,
  defaults: ClusterDefaults,
  { uuid, now }: Fresh,
): VirtualMachineInstance {
  const spec = defaultInstanceSpec(instance.spec, defaults, uuid());
  const { cpu, memory } = spec.domain;
  const finalizers = instance.metadata?.finalizers ?? [];
  const phaseTransitionTimestamp = now.toISOString().replace(/\.\d+Z$/, "Z");
  const guest = memory?.guest;
  return {
    ...instance,
    metadata: {
      ...instance.metadata,
      finalizers: [...new Set([...finalizers, INSTANCE_FINALIZER])],
    },
    spec,
    status: {
      phase: "Pending",
      phaseTransitionTimestamps: [{ phase: "Pending", phaseTransitionTimestamp }],
      currentCPUTopology: {
        sockets: cpu?.sockets ?? 1,
        cores: cpu?.cores ?? 1,
        threads: cpu?.threads ?? 1,
      },
      ...(guest !== undefined && {
        memory: { guestAtBoot: guest, guestCurrent: guest, guestRequested: guest },
      }),
    },
  };
}

/**
 * A new VirtualMachine, filled in: what must be the same at every start. The rest is left to its instances,
 * so that it follows the cluster's configuration.
 */
export function defaultMachine(
  machine: VirtualMachine,
  defaults: ClusterDefaults,
  { uuid }: Pick<Fresh, "uuid">,
): VirtualMachine {
  const { template } = machine.spec;
  if (template.spec === undefined) return machine;
  const { domain } = template.spec;
  const architecture = template.spec.architecture ?? defaults.architecture;
  const type = domain.machine?.type ?? defaults.machineTypes[architecture] ?? "";
  const firmware = { serial: uuid(), uuid: uuid(), ...domain.firmware };
  const filled = { ...domain, firmware, machine: { ...domain.machine, type } };
  const spec = { ...template.spec, architecture, domain: filled };
  return { ...machine, spec: { ...machine.spec, template: { ...template, spec } } };
}
