import type { MachineFigures } from "@trine/engine";

/** Of one series: what tells it from others of the same machine, and its value; undefined is not told. */
type Sample = readonly [labels: Readonly<Record<string, string>>, value: number | undefined];

/** One of KubeVirt's metrics of a machine. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "gauge" | "counter";
  /** Beside node, namespace and name. */
  readonly labels: readonly string[];
  readonly samples: (figures: MachineFigures) => readonly Sample[];
}

type Value = (figures: MachineFigures) => number | undefined;
type Link = NonNullable<MachineFigures["network"]>["links"][number];
type Vcpu = MachineFigures["guest"]["vcpus"][number];
type Disk = MachineFigures["guest"]["disks"][number];

const NS = 1e9;

function one(type: Family["type"], name: string, help: string, value: Value): Family {
  const samples = (figures: MachineFigures): readonly Sample[] => [[{}, value(figures)]];
  return { name: `kubevirt_vmi_${name}`, help, type, labels: [], samples };
}

function ofLinks(name: string, help: string, value: (link: Link) => number): Family {
  return {
    ...{ name: `kubevirt_vmi_network_${name}_total`, help, type: "counter", labels: ["interface"] },
    samples: ({ network }) =>
      (network?.links ?? []).map((link) => [{ interface: link.name }, value(link)]),
  };
}

function ofVcpus(value: (vcpu: Vcpu) => bigint | undefined): Family["samples"] {
  return ({ guest }) =>
    guest.vcpus.map((vcpu) => {
      const ns = value(vcpu);
      return [{ id: String(vcpu.id) }, ns === undefined ? undefined : Number(ns) / NS];
    });
}

function ofDisks(name: string, help: string, value: (disk: Disk) => bigint, unit = 1): Family {
  return {
    ...{ name: `kubevirt_vmi_storage_${name}_total`, help, type: "counter", labels: ["drive"] },
    samples: ({ guest }) =>
      guest.disks.map((disk) => [{ drive: disk.name }, Number(value(disk)) / unit]),
  };
}

function ofFileSystems(
  name: string,
  help: string,
  value: (of: NonNullable<MachineFigures["usage"]>["fileSystems"][number]) => number,
): Family {
  const labels = ["disk_name", "file_system_type", "mount_point"];
  return {
    ...{ name: `kubevirt_vmi_filesystem_${name}_bytes`, help, type: "gauge", labels },
    samples: ({ usage }) =>
      (usage?.fileSystems ?? []).map((each) => [
        { disk_name: each.diskName, file_system_type: each.type, mount_point: each.mountPoint },
        value(each),
      ]),
  };
}

/** What a machine has now. */
const MEMORY: readonly Family[] = [
  one(
    "gauge",
    "memory_domain_bytes",
    "Memory given to the guest.",
    ({ guest }) => guest.memory.totalBytes,
  ),
  one(
    "gauge",
    "memory_actual_balloon_bytes",
    "Memory that the balloon leaves to the guest.",
    ({ guest }) => guest.memory.totalBytes,
  ),
  one(
    "gauge",
    "memory_resident_bytes",
    "Resident memory of the VMM's process, the guest's pages included.",
    ({ host }) => host.vmmBytes,
  ),
  one(
    "gauge",
    "memory_available_bytes",
    "What the guest's kernel calls all of its memory.",
    ({ guest }) => guest.memory.seenBytes,
  ),
  one(
    "gauge",
    "memory_usable_bytes",
    "Memory that the guest says it could still use without swapping.",
    ({ guest }) => guest.memory.availableBytes,
  ),
  one(
    "gauge",
    "memory_used_bytes",
    "Memory that is used as the guest says it: available less usable.",
    ({ guest: { memory } }) =>
      memory.seenBytes === undefined || memory.availableBytes === undefined
        ? undefined
        : Math.max(0, memory.seenBytes - memory.availableBytes),
  ),
  one(
    "gauge",
    "memory_unused_bytes",
    "Memory that the guest says nothing is in.",
    ({ guest }) => guest.memory.freeBytes,
  ),
  one(
    "gauge",
    "memory_cached_bytes",
    "Memory that the guest says it keeps files' contents in.",
    ({ guest }) => guest.memory.diskCacheBytes,
  ),
  one(
    "gauge",
    "memory_swap_in_traffic_bytes",
    "Bytes that the guest says it has read back from swap.",
    ({ guest }) => guest.memory.swappedInBytes,
  ),
  one(
    "gauge",
    "memory_swap_out_traffic_bytes",
    "Bytes that the guest says it has written to swap.",
    ({ guest }) => guest.memory.swappedOutBytes,
  ),
  one(
    "counter",
    "memory_pgmajfault_total",
    "Page faults of the guest that had to read from a disk.",
    ({ guest }) => guest.memory.majorFaults,
  ),
  one(
    "counter",
    "memory_pgminfault_total",
    "Page faults of the guest that read from no disk.",
    ({ guest }) => guest.memory.minorFaults,
  ),
];

const PROCESSORS: readonly Family[] = [
  one(
    "counter",
    "cpu_usage_seconds_total",
    "Processor time of the VMM with its vCPUs.",
    ({ host: { cpu } }) => (cpu === undefined ? undefined : cpu.userSeconds + cpu.systemSeconds),
  ),
  one(
    "counter",
    "cpu_user_usage_seconds_total",
    "Processor time of the VMM with its vCPUs in user mode, the guest's among it.",
    ({ host }) => host.cpu?.userSeconds,
  ),
  one(
    "counter",
    "cpu_system_usage_seconds_total",
    "Processor time of the VMM with its vCPUs in the host's kernel.",
    ({ host }) => host.cpu?.systemSeconds,
  ),
  {
    name: "kubevirt_vmi_vcpu_seconds_total",
    help: "Time that each vCPU's thread ran.",
    type: "counter",
    labels: ["id", "state"],
    samples: ({ guest }) =>
      guest.vcpus.map(({ id, ns }) => [{ id: String(id), state: "running" }, Number(ns) / NS]),
  },
  {
    name: "kubevirt_vmi_vcpu_delay_seconds_total",
    help: "Time that each vCPU could have run and the host ran something else.",
    type: "counter",
    labels: ["id"],
    samples: ofVcpus(({ delayNs }) => delayNs),
  },
  {
    name: "kubevirt_vmi_vcpu_wait_seconds_total",
    help: "The same by the scheduler's statistics, where the host keeps them.",
    type: "counter",
    labels: ["id"],
    samples: ofVcpus(({ waitNs }) => waitNs),
  },
];

/** What the guest's agent has said last. */
const SAID: readonly Family[] = [
  ofFileSystems(
    "capacity",
    "Size of a file system, as the guest says it.",
    ({ totalBytes }) => totalBytes,
  ),
  ofFileSystems(
    "used",
    "What is used of a file system, as the guest says it.",
    ({ usedBytes }) => usedBytes,
  ),
  ...([1, 5, 15] as const).map((minutes) =>
    one(
      "gauge",
      `guest_load_${minutes}m`,
      "Processes that run in the guest or wait to, on average, as its agent says it.",
      ({ usage }) => usage?.load?.[minutes],
    ),
  ),
];

const NETWORK: readonly Family[] = [
  ofLinks("receive_bytes", "Bytes that the guest has received.", ({ received }) => received.bytes),
  ofLinks("transmit_bytes", "Bytes that the guest has sent.", ({ sent }) => sent.bytes),
  ofLinks(
    "receive_packets",
    "Packets that the guest has received.",
    ({ received }) => received.packets,
  ),
  ofLinks("transmit_packets", "Packets that the guest has sent.", ({ sent }) => sent.packets),
  ofLinks("receive_errors", "Packets to the guest that failed.", ({ received }) => received.errors),
  ofLinks("transmit_errors", "Packets of the guest that failed.", ({ sent }) => sent.errors),
  ofLinks(
    "receive_packets_dropped",
    "Packets to the guest that were dropped.",
    ({ received }) => received.drops,
  ),
  ofLinks(
    "transmit_packets_dropped",
    "Packets of the guest that were dropped.",
    ({ sent }) => sent.drops,
  ),
];

const STORAGE: readonly Family[] = [
  ofDisks("read_traffic_bytes", "Bytes that the guest has read.", ({ readBytes }) => readBytes),
  ofDisks(
    "write_traffic_bytes",
    "Bytes that the guest has written.",
    ({ writtenBytes }) => writtenBytes,
  ),
  ofDisks("iops_read", "Reads of the guest.", ({ reads }) => reads),
  ofDisks("iops_write", "Writes of the guest.", ({ writes }) => writes),
  ofDisks("flush_requests", "Flushes of the guest.", ({ flushes }) => flushes),
  ofDisks("read_times_seconds", "Time that reads took, together.", ({ readNs }) => readNs, NS),
  ofDisks("write_times_seconds", "Time that writes took, together.", ({ writeNs }) => writeNs, NS),
  ofDisks("flush_times_seconds", "Time that flushes took, together.", ({ flushNs }) => flushNs, NS),
];

/** What is told of each machine, by KubeVirt's names. */
export const FAMILIES: readonly Family[] = [
  ...MEMORY,
  ...PROCESSORS,
  ...NETWORK,
  ...STORAGE,
  ...SAID,
];
