import type { VirtualMachineClusterInstancetype } from "@trine/kube-types";
import type { InstancetypeSpec } from "../specs.ts";
import { PREFIX, VENDOR } from "./labels.ts";

/** Processors and memory of a size. */
type Size = readonly [name: string, processors: number, memory: string];

type Cpu = Omit<InstancetypeSpec["cpu"], "guest">;
type Memory = Omit<InstancetypeSpec["memory"], "guest">;

/** Machines of one purpose, in sizes. */
interface Family {
  readonly name: string;
  readonly title: string;
  readonly purpose: string;
  readonly class: string;
  readonly icon: string;
  readonly sizes: readonly Size[];
  readonly cpu?: Cpu;
  readonly memory?: Memory;
  /** As many sockets at most as processors: nothing is kept to grow into. */
  readonly fixed?: boolean;
  /** Each size once with pages of 2 MiB and once, as `…1gi`, with pages of 1 GiB. */
  readonly bothPages?: boolean;
  readonly rest?: Pick<InstancetypeSpec, "annotations" | "ioThreadsPolicy">;
}

const SMALL: readonly Size[] = [
  ["nano", 1, "512Mi"],
  ["micro", 1, "1Gi"],
  ["small", 1, "2Gi"],
];
const USUAL: readonly Size[] = [
  ["medium", 1, "4Gi"],
  ["large", 2, "8Gi"],
  ["xlarge", 4, "16Gi"],
  ["2xlarge", 8, "32Gi"],
  ["4xlarge", 16, "64Gi"],
  ["8xlarge", 32, "128Gi"],
];
const EXCLUSIVE = { dedicatedCPUPlacement: true, isolateEmulatorThread: true } as const;
const NUMA = { guestMappingPassthrough: {} } as const;
const QUIET = {
  annotations: {
    "cpu-load-balancing.crio.io": "disable",
    "cpu-quota.crio.io": "disable",
    "irq-load-balancing.crio.io": "disable",
  },
} as const;

const FAMILIES: readonly Family[] = [
  {
    name: "cx1",
    title: "Compute Exclusive",
    purpose:
      "Processors that no other machine shares, with their NUMA topology shown to the guest. Nodes need a static CPU manager and huge pages.",
    class: "compute.exclusive",
    icon: "pficon-registry",
    sizes: [
      ["medium", 1, "2Gi"],
      ["large", 2, "4Gi"],
      ["xlarge", 4, "8Gi"],
      ["2xlarge", 8, "16Gi"],
      ["4xlarge", 16, "32Gi"],
      ["8xlarge", 32, "64Gi"],
    ],
    cpu: { ...EXCLUSIVE, numa: NUMA },
    fixed: true,
    bothPages: true,
    rest: { ioThreadsPolicy: "auto" },
  },
  {
    name: "d1",
    title: "Dedicated vCPU",
    purpose: "Steady speed for general work: each virtual processor has one of the node's.",
    class: "dedicated.vcpu",
    icon: "pficon-server-group",
    sizes: [...SMALL, ...USUAL, ["2xmedium", 2, "4Gi"]],
    cpu: EXCLUSIVE,
    rest: { ioThreadsPolicy: "auto" },
  },
  {
    name: "m1",
    title: "Memory Intensive",
    purpose: "Much memory for each processor, in huge pages, which nodes must offer.",
    class: "memory.intensive",
    icon: "fa-memory",
    sizes: [
      ["large", 2, "16Gi"],
      ["xlarge", 4, "32Gi"],
      ["2xlarge", 8, "64Gi"],
      ["4xlarge", 16, "128Gi"],
      ["8xlarge", 32, "256Gi"],
    ],
    bothPages: true,
  },
  {
    name: "n1",
    title: "Network",
    purpose:
      "Packet work with DPDK. Nodes need processors that are isolated and huge pages of 1 GiB.",
    class: "network",
    icon: "pficon-network",
    sizes: [
      ["medium", 4, "4Gi"],
      ["large", 4, "8Gi"],
      ["xlarge", 8, "16Gi"],
      ["2xlarge", 16, "32Gi"],
      ["4xlarge", 32, "64Gi"],
      ["8xlarge", 64, "128Gi"],
    ],
    cpu: EXCLUSIVE,
    memory: { hugepages: { pageSize: "1Gi" } },
    rest: QUIET,
  },
  {
    name: "o1",
    title: "Overcommitted",
    purpose: "As u1, but a node promises each machine's memory twice.",
    class: "overcommitted",
    icon: "pficon-virtual-machine",
    sizes: [...SMALL, ...USUAL],
    memory: { overcommitPercent: 50 },
  },
  {
    name: "rt1",
    title: "Realtime",
    purpose:
      "Work that must be done in time. Nodes need a real-time kernel and huge pages of 1 GiB.",
    class: "realtime",
    icon: "pficon-server-group",
    sizes: [...SMALL.slice(1), ...USUAL],
    cpu: { ...EXCLUSIVE, numa: NUMA, realtime: {} },
    memory: { hugepages: { pageSize: "1Gi" } },
    rest: QUIET,
  },
  {
    name: "u1",
    title: "General Purpose",
    purpose:
      "Machines for everything, with 4 GiB for each processor: web servers, small databases, desktops.",
    class: "general.purpose",
    icon: "pficon-server-group",
    sizes: [...SMALL, ...USUAL, ["2xmedium", 2, "4Gi"]],
  },
];

/** Every family in every size. */
export function clusterInstancetypes(): readonly VirtualMachineClusterInstancetype[] {
  return FAMILIES.flatMap((family) =>
    family.sizes.flatMap((size) => {
      const [name] = size;
      if (family.bothPages !== true) return [instancetype(family, size, name, family.memory)];
      return [
        instancetype(family, size, name, { hugepages: { pageSize: "2Mi" } }),
        instancetype(family, size, `${name}1gi`, { hugepages: { pageSize: "1Gi" } }),
      ];
    }),
  );
}

function instancetype(
  family: Family,
  [, processors, guest]: Size,
  size: string,
  memory: Memory | undefined,
): VirtualMachineClusterInstancetype {
  const fixed = family.fixed === true ? { maxSockets: processors } : {};
  const cpu = { guest: processors, ...family.cpu, ...fixed };
  const pages = memory?.hugepages?.pageSize;
  return {
    apiVersion: "instancetype.kubevirt.io/v1beta1",
    kind: "VirtualMachineClusterInstancetype",
    metadata: {
      name: `${family.name}.${size}`,
      annotations: {
        [`${PREFIX}/description`]: family.purpose,
        [`${PREFIX}/displayName`]: family.title,
      },
      labels: {
        [`${PREFIX}/vendor`]: VENDOR,
        [`${PREFIX}/class`]: family.class,
        [`${PREFIX}/version`]: family.name.slice(-1),
        [`${PREFIX}/icon-pf`]: family.icon,
        [`${PREFIX}/cpu`]: String(processors),
        [`${PREFIX}/memory`]: guest,
        [`${PREFIX}/size`]: size,
        ...(cpu.dedicatedCPUPlacement === true && { [`${PREFIX}/dedicatedCPUPlacement`]: "true" }),
        ...(cpu.isolateEmulatorThread === true && { [`${PREFIX}/isolateEmulatorThread`]: "true" }),
        ...(cpu.numa !== undefined && { [`${PREFIX}/numa`]: "true" }),
        ...(cpu.realtime !== undefined && { [`${PREFIX}/realtime`]: "true" }),
        ...(pages !== undefined && { [`${PREFIX}/hugepages`]: pages }),
      },
    },
    spec: { ...family.rest, cpu, memory: { guest, ...memory } },
  };
}
