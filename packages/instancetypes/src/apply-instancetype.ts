import { formatQuantity, parseQuantity } from "@trine/base";
import type { CPU, DomainSpec, Memory } from "@trine/kube-types";
import { given } from "./prefer.ts";
import type { InstancetypeSpec, Template } from "./specs.ts";
import { type Topology, spread } from "./topology.ts";

/** A machine with what its instance type says. Both were found not to contradict. */
export function applyInstancetype(
  type: InstancetypeSpec,
  topology: Topology,
  { spec, annotations }: Template,
): Template {
  const { nodeSelector, schedulerName } = type;
  return {
    annotations: { ...type.annotations, ...annotations },
    spec: {
      ...spec,
      ...(nodeSelector !== undefined && { nodeSelector }),
      ...(schedulerName !== undefined && schedulerName !== "" && { schedulerName }),
      domain: applyDomain(type, topology, spec.domain),
    },
  };
}

function applyDomain(type: InstancetypeSpec, topology: Topology, domain: DomainSpec): DomainSpec {
  const { ioThreadsPolicy, launchSecurity, gpus = [], hostDevices = [] } = type;
  const count = type.ioThreads?.supplementalPoolThreadCount;
  const requested = requestedMemory(type);
  const { resources } = domain;
  return {
    ...domain,
    cpu: applyProcessors(type.cpu, topology, domain.cpu),
    memory: applyMemory(type.memory, domain.memory),
    ...(requested !== undefined && {
      resources: { ...resources, requests: { ...resources?.requests, memory: requested } },
    }),
    ...given<DomainSpec>({ ioThreadsPolicy, launchSecurity }),
    ...(count !== undefined && {
      ioThreads: { ...domain.ioThreads, supplementalPoolThreadCount: count },
    }),
    devices: {
      ...domain.devices,
      ...(gpus.length > 0 && { gpus }),
      ...(hostDevices.length > 0 && { hostDevices }),
    },
  };
}

function applyProcessors(
  type: InstancetypeSpec["cpu"],
  topology: Topology,
  cpu: CPU | undefined,
): CPU {
  const { model, dedicatedCPUPlacement, isolateEmulatorThread, numa, realtime, maxSockets } = type;
  return {
    ...cpu,
    ...given<CPU>({ model, isolateEmulatorThread, numa, realtime, maxSockets }),
    ...given<CPU>({ dedicatedCpuPlacement: dedicatedCPUPlacement }),
    ...spread(type.guest, topology),
  };
}

function applyMemory(type: InstancetypeSpec["memory"], memory: Memory | undefined): Memory {
  const { guest, hugepages, maxGuest } = type;
  return { ...memory, ...given<Memory>({ guest, hugepages, maxGuest }) };
}

/** What the pod asks for where the memory is promised more than once; undefined where it is not. */
function requestedMemory({ memory }: InstancetypeSpec): string | undefined {
  const { guest, overcommitPercent = 0 } = memory;
  if (overcommitPercent <= 0) return undefined;
  const bytes = parseQuantity(String(guest)) ?? 0n;
  return formatQuantity((bytes * BigInt(100 - overcommitPercent)) / 100n);
}
