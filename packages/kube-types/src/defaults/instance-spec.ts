import type { DomainSpec } from "../kubevirt/domain.ts";
import type { VirtualMachineInstanceSpec } from "../kubevirt/instance-spec.ts";
import type { Probe } from "../kubevirt/probe.ts";
import type { Volume } from "../kubevirt/volumes.ts";
import { defaultDisks, defaultOthers } from "./devices.ts";
import { defaultClock, defaultFeatures } from "./features.ts";
import { defaultMemory, defaultProcessor } from "./processor.ts";
import type { ClusterDefaults } from "./settings.ts";

/**
 * What a machine is when its user leaves things open, as KubeVirt's mutating webhook fills it in. The spec
 * has been checked; filling in twice changes nothing. `uuid` is the firmware's where there is none.
 */
export function defaultInstanceSpec(
  said: VirtualMachineInstanceSpec,
  defaults: ClusterDefaults,
  uuid: string,
): VirtualMachineInstanceSpec {
  const spec = defaultNetworks(said, defaults);
  const architecture = textOr(spec.architecture, defaults.architecture);
  const volumes = spec.volumes?.map(defaultVolume);
  return {
    ...spec,
    architecture,
    evictionStrategy: textOr(spec.evictionStrategy, defaults.evictionStrategy),
    ...(volumes !== undefined && { volumes }),
    ...(spec.livenessProbe !== undefined && { livenessProbe: defaultProbe(spec.livenessProbe) }),
    ...(spec.readinessProbe !== undefined && { readinessProbe: defaultProbe(spec.readinessProbe) }),
    domain: defaultDomain(spec, architecture, defaults, uuid),
  };
}

function defaultDomain(
  spec: VirtualMachineInstanceSpec,
  architecture: string,
  defaults: ClusterDefaults,
  uuid: string,
): DomainSpec {
  const { domain } = spec;
  const memory = defaultMemory(domain, architecture, defaults);
  const type = textOr(domain.machine?.type, defaults.machineTypes[architecture] ?? "");
  const disks = defaultDisks(domain.devices, spec.volumes ?? []);
  return {
    ...domain,
    ...(memory !== undefined && { memory }),
    ...(domain.clock !== undefined && { clock: defaultClock(domain.clock) }),
    cpu: defaultProcessor(domain, defaults),
    machine: { ...domain.machine, type },
    firmware: { ...domain.firmware, uuid: textOr(domain.firmware?.uuid, uuid) },
    features: defaultFeatures(domain.features),
    devices: {
      ...domain.devices,
      ...defaultOthers(domain.devices),
      ...(disks.length > 0 && { disks }),
    },
  };
}

function textOr(text: string | undefined, other: string): string {
  return text === undefined || text === "" ? other : text;
}

const DEFAULT = "default";

/** The pod's network, for a machine that says nothing of networks. */
export function defaultNetworks(
  spec: VirtualMachineInstanceSpec,
  { networkBinding }: Pick<ClusterDefaults, "networkBinding">,
): VirtualMachineInstanceSpec {
  const { networks = [], domain } = spec;
  const { interfaces = [], autoattachPodInterface = true } = domain.devices;
  if (networks.length > 0 || interfaces.length > 0 || !autoattachPodInterface) return spec;
  const devices = { ...domain.devices, interfaces: [{ name: DEFAULT, [networkBinding]: {} }] };
  return {
    ...spec,
    networks: [{ name: DEFAULT, pod: {} }],
    domain: { ...domain, devices },
  };
}

/** An image that may change is pulled each time. */
function defaultVolume(volume: Volume): Volume {
  const { containerDisk } = volume;
  if (containerDisk === undefined) return volume;
  const imagePullPolicy = textOr(containerDisk.imagePullPolicy, pullPolicyOf(containerDisk.image));
  return { ...volume, containerDisk: { ...containerDisk, imagePullPolicy } };
}

function pullPolicyOf(image: string): string {
  if (image.includes("@")) return "IfNotPresent";
  const [, tag = "latest"] = (image.split("/").at(-1) ?? "").split(":");
  return tag === "latest" ? "Always" : "IfNotPresent";
}

function defaultProbe(probe: Probe): Probe {
  const atLeastOne = (value: number | undefined, usual: number): number =>
    value === undefined || value < 1 ? usual : value;
  return {
    ...probe,
    timeoutSeconds: atLeastOne(probe.timeoutSeconds, 1),
    periodSeconds: atLeastOne(probe.periodSeconds, 10),
    successThreshold: atLeastOne(probe.successThreshold, 1),
    failureThreshold: atLeastOne(probe.failureThreshold, 3),
  };
}
