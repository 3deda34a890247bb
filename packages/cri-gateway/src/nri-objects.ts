// Pods and containers as NRI describes them, of what CRI says: for those who choose by them.
import { create, fromBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { TrineError } from "@trine/base";
import {
  ContainerConfigSchema,
  ContainerStatusResponseSchema,
  NamespaceMode,
  PodSandboxConfigSchema,
  PodSandboxStatusResponseSchema,
  UpdateContainerResourcesRequestSchema,
} from "@trine/proto/cri/api";
import type { LinuxContainerResources } from "@trine/proto/cri/api";
import { ContainerSchema, LinuxResourcesSchema, PodSandboxSchema } from "@trine/proto/nri";
import type { Container, LinuxResources, PodSandbox } from "@trine/proto/nri";
import { mapAt, stringAt } from "./wire.ts";

type Resources = Exclude<
  NonNullable<Exclude<MessageInitShape<typeof ContainerSchema>["linux"], undefined>>["resources"],
  undefined
>;

/** What lists do not show of a pod: its limits, and its cgroup. */
interface PodLinux {
  readonly podResources?: Resources;
  readonly cgroupParent?: string;
}

/** Of an item of ListPodSandbox. */
export function nriPod(record: Uint8Array, linux?: PodLinux): PodSandbox {
  return create(PodSandboxSchema, {
    id: stringAt(record, 1),
    name: stringAt(record, 2, 1),
    uid: stringAt(record, 2, 2),
    namespace: stringAt(record, 2, 3),
    annotations: Object.fromEntries(mapAt(record, 6)),
    runtimeHandler: stringAt(record, 7),
    ...(linux && { linux }),
  });
}

/** By a PodSandboxConfig. */
export function plannedPodLinux(config: Uint8Array): PodLinux {
  const { resources, cgroupParent = "" } = fromBinary(PodSandboxConfigSchema, config).linux ?? {};
  return { cgroupParent, ...(resources && { podResources: limitsOf(resources) }) };
}

/** The limits that an UpdateContainerResourcesRequest asks for. */
export function wantedLimits(request: Uint8Array): LinuxResources | undefined {
  const { linux } = fromBinary(UpdateContainerResourcesRequestSchema, request);
  return linux && create(LinuxResourcesSchema, limitsOf(linux));
}

export function hasLimit({ linux }: Container): boolean {
  const { cpu, memory } = linux?.resources ?? {};
  const amounts = [cpu?.quota?.value ?? 0n, memory?.limit?.value ?? 0n];
  return amounts.some((amount) => amount > 0n) || (cpu?.cpus ?? "") !== "";
}

/** What containerd puts under `info` of a PodSandboxStatus that is asked for verbosely: the configuration, in Go's JSON. */
interface VerbosePod {
  readonly config?: {
    readonly linux?: {
      readonly cgroup_parent?: string;
      readonly resources?: {
        readonly cpu_quota?: number;
        readonly cpuset_cpus?: string;
        readonly memory_limit_in_bytes?: number;
      };
    };
  };
}

/** By a verbose PodSandboxStatus; empty where its runtime does not tell. */
export function foundPodLinux(bytes: Uint8Array): PodLinux {
  const { info } = fromBinary(PodSandboxStatusResponseSchema, bytes);
  const { config } = JSON.parse(info["info"] ?? "{}") as VerbosePod;
  const { resources, cgroup_parent: cgroupParent = "" } = config?.linux ?? {};
  if (resources === undefined) return { cgroupParent };
  const cpu = {
    quota: { value: BigInt(resources.cpu_quota ?? 0) },
    cpus: resources.cpuset_cpus ?? "",
  };
  const memory = { limit: { value: BigInt(resources.memory_limit_in_bytes ?? 0) } };
  return { cgroupParent, podResources: { cpu, memory } };
}

/** One that is about to be made of this ContainerConfig. */
export function plannedContainer(bytes: Uint8Array): Container {
  const { metadata, mounts, linux } = fromBinary(ContainerConfigSchema, bytes);
  const { pid } = linux?.securityContext?.namespaceOptions ?? {};
  return create(ContainerSchema, {
    name: metadata?.name ?? "",
    mounts: mounts.map(({ containerPath, hostPath }) => ({
      ...{ destination: containerPath, source: hostPath, type: "bind" },
    })),
    linux: {
      namespaces: pid === NamespaceMode.CONTAINER ? [{ type: "pid" }] : [],
      ...(linux?.resources && { resources: limitsOf(linux.resources) }),
    },
  });
}

/** What containerd and CRI-O put under `info` of a ContainerStatus that is asked for verbosely. */
interface VerboseInfo {
  readonly pid?: number;
  readonly runtimeSpec?: {
    readonly mounts?: readonly {
      readonly destination: string;
      readonly source?: string;
      readonly type?: string;
    }[];
    readonly linux?: {
      readonly namespaces?: readonly { readonly type: string; readonly path?: string }[];
      readonly resources?: {
        readonly cpu?: {
          readonly quota?: number;
          readonly period?: number;
          readonly cpus?: string;
        };
        readonly memory?: { readonly limit?: number };
      };
    };
  };
}

/** One that is there, by its verbose ContainerStatus. Kind `unimplemented` where its runtime does not say what it is made of. */
export function foundContainer(bytes: Uint8Array): Container {
  const { status, info } = fromBinary(ContainerStatusResponseSchema, bytes);
  const { pid, runtimeSpec } = JSON.parse(info["info"] ?? "{}") as VerboseInfo;
  if (status === undefined || pid === undefined || runtimeSpec === undefined) {
    throw new TrineError("unimplemented", "its runtime tells neither its process nor its mounts");
  }
  const { namespaces = [], resources = {} } = runtimeSpec.linux ?? {};
  return create(ContainerSchema, {
    ...{ id: status.id, name: status.metadata?.name ?? "", pid },
    mounts: (runtimeSpec.mounts ?? []).map(({ destination, source = "", type = "" }) => ({
      ...{ destination, source, type },
    })),
    linux: {
      namespaces: namespaces.map(({ type, path = "" }) => ({ type, path })),
      resources: {
        cpu: {
          quota: { value: BigInt(resources.cpu?.quota ?? 0) },
          period: { value: BigInt(resources.cpu?.period ?? 0) },
          cpus: resources.cpu?.cpus ?? "",
        },
        memory: { limit: { value: BigInt(resources.memory?.limit ?? 0) } },
      },
    },
  });
}

function limitsOf(resources: LinuxContainerResources): Resources {
  const { cpuQuota, cpuPeriod, cpusetCpus, memoryLimitInBytes } = resources;
  return {
    cpu: { quota: { value: cpuQuota }, period: { value: cpuPeriod }, cpus: cpusetCpus },
    memory: { limit: { value: memoryLimitInBytes } },
  };
}
