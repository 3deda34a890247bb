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
} from "@trine/proto/cri/api";
import type { LinuxContainerResources } from "@trine/proto/cri/api";
import { ContainerSchema, PodSandboxSchema } from "@trine/proto/nri";
import type { Container, PodSandbox } from "@trine/proto/nri";
import { mapAt, stringAt } from "./wire.ts";

type Resources = Exclude<
  NonNullable<Exclude<MessageInitShape<typeof ContainerSchema>["linux"], undefined>>["resources"],
  undefined
>;

/** Of an item of ListPodSandbox; `limits` are those of the whole pod. */
export function nriPod(record: Uint8Array, limits?: Resources): PodSandbox {
  return create(PodSandboxSchema, {
    id: stringAt(record, 1),
    name: stringAt(record, 2, 1),
    uid: stringAt(record, 2, 2),
    namespace: stringAt(record, 2, 3),
    annotations: Object.fromEntries(mapAt(record, 6)),
    runtimeHandler: stringAt(record, 7),
    ...(limits && { linux: { podResources: limits } }),
  });
}

/** A pod's limits by its PodSandboxConfig. */
export function plannedPodLimits(config: Uint8Array): Resources | undefined {
  const resources = fromBinary(PodSandboxConfigSchema, config).linux?.resources;
  return resources && limitsOf(resources);
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
      readonly resources?: {
        readonly cpu_quota?: number;
        readonly cpuset_cpus?: string;
        readonly memory_limit_in_bytes?: number;
      };
    };
  };
}

/** A pod's limits by its verbose PodSandboxStatus; none where its runtime does not tell. */
export function foundPodLimits(bytes: Uint8Array): Resources | undefined {
  const { info } = fromBinary(PodSandboxStatusResponseSchema, bytes);
  const { config } = JSON.parse(info["info"] ?? "{}") as VerbosePod;
  const { resources } = config?.linux ?? {};
  return (
    resources && {
      cpu: {
        quota: { value: BigInt(resources.cpu_quota ?? 0) },
        cpus: resources.cpuset_cpus ?? "",
      },
      memory: { limit: { value: BigInt(resources.memory_limit_in_bytes ?? 0) } },
    }
  );
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
        readonly cpu?: { readonly quota?: number; readonly cpus?: string };
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
          cpus: resources.cpu?.cpus ?? "",
        },
        memory: { limit: { value: BigInt(resources.memory?.limit ?? 0) } },
      },
    },
  });
}

function limitsOf(resources: LinuxContainerResources): Resources {
  const { cpuQuota, cpusetCpus, memoryLimitInBytes } = resources;
  return {
    cpu: { quota: { value: cpuQuota }, cpus: cpusetCpus },
    memory: { limit: { value: memoryLimitInBytes } },
  };
}
