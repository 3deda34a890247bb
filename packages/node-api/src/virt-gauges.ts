import { Counter, Gauge } from "prom-client";
import type { Registry } from "prom-client";
import type { MachineFigures } from "@trine/engine";

type Labels = "node" | "namespace" | "name";
type Disk = MachineFigures["guest"]["disks"][number];

interface Metric {
  readonly name: string;
  readonly help: string;
  readonly value: (figures: MachineFigures) => number | undefined;
}

/** What a machine of KubeVirt's kinds has now, by KubeVirt's names. */
const GAUGES: readonly Metric[] = [
  {
    name: "kubevirt_vmi_memory_domain_bytes",
    help: "Memory given to the guest.",
    value: ({ guest }) => guest.memory.totalBytes,
  },
  {
    name: "kubevirt_vmi_memory_actual_balloon_bytes",
    help: "Memory that the balloon leaves to the guest.",
    value: ({ guest }) => guest.memory.totalBytes,
  },
  {
    name: "kubevirt_vmi_memory_resident_bytes",
    help: "Resident memory of the VMM's process, the guest's pages included.",
    value: ({ host }) => host.vmmBytes,
  },
  {
    name: "kubevirt_vmi_memory_usable_bytes",
    help: "Memory that the guest says it could still use without swapping.",
    value: ({ guest }) => guest.memory.availableBytes,
  },
  {
    name: "kubevirt_vmi_memory_unused_bytes",
    help: "Memory that the guest says nothing is in.",
    value: ({ guest }) => guest.memory.freeBytes,
  },
  {
    name: "kubevirt_vmi_memory_cached_bytes",
    help: "Memory that the guest says it keeps files' contents in.",
    value: ({ guest }) => guest.memory.diskCacheBytes,
  },
];

/** What a machine has done since it was started. */
const COUNTERS: readonly Metric[] = [
  {
    name: "kubevirt_vmi_cpu_usage_seconds_total",
    help: "Processor time of the machine's vCPUs.",
    value: ({ guest }) => Number(guest.cpuNs) / 1e9,
  },
  {
    name: "kubevirt_vmi_vcpu_seconds_total",
    help: "Processor time of the machine's vCPUs, all of them together.",
    value: ({ guest }) => Number(guest.cpuNs) / 1e9,
  },
  {
    name: "kubevirt_vmi_memory_pgmajfault_total",
    help: "Page faults of the guest that had to read from a disk.",
    value: ({ guest }) => guest.memory.majorFaults,
  },
  {
    name: "kubevirt_vmi_memory_pgminfault_total",
    help: "Page faults of the guest that read from no disk.",
    value: ({ guest }) => guest.memory.minorFaults,
  },
  {
    name: "kubevirt_vmi_network_receive_bytes_total",
    help: "Bytes that the guest has received, by all of its cards.",
    value: ({ network }) => network?.receivedBytes,
  },
  {
    name: "kubevirt_vmi_network_transmit_bytes_total",
    help: "Bytes that the guest has sent, by all of its cards.",
    value: ({ network }) => network?.sentBytes,
  },
];

/** The same by disk. */
const OF_DISKS: readonly {
  readonly name: string;
  readonly help: string;
  readonly value: (disk: Disk) => bigint;
}[] = [
  {
    name: "kubevirt_vmi_storage_read_traffic_bytes_total",
    help: "Bytes that the guest has read.",
    value: ({ readBytes }) => readBytes,
  },
  {
    name: "kubevirt_vmi_storage_write_traffic_bytes_total",
    help: "Bytes that the guest has written.",
    value: ({ writtenBytes }) => writtenBytes,
  },
  {
    name: "kubevirt_vmi_storage_iops_read_total",
    help: "Reads of the guest.",
    value: ({ reads }) => reads,
  },
  {
    name: "kubevirt_vmi_storage_iops_write_total",
    help: "Writes of the guest.",
    value: ({ writes }) => writes,
  },
];

/** Whose figures they are. */
export interface FiguresOf {
  readonly pod: { readonly podNamespace: string; readonly name: string };
  readonly figures: MachineFigures;
}

/** Figures of the node's machines that belong to a VirtualMachineInstance, read anew at each scrape. */
export class VirtGauges {
  readonly #node: string;
  readonly #gauges: readonly { metric: Metric; gauge: Gauge<Labels> }[];
  readonly #counters: readonly { metric: Metric; counter: Counter<Labels> }[];
  readonly #disks: readonly {
    metric: (typeof OF_DISKS)[number];
    counter: Counter<Labels | "drive">;
  }[];

  constructor(node: string, registry: Registry) {
    const registers = [registry];
    const labelNames = ["node", "namespace", "name"] as const;
    this.#node = node;
    this.#gauges = GAUGES.map((metric) => {
      const { name, help } = metric;
      return { metric, gauge: new Gauge({ name, help, labelNames, registers }) };
    });
    this.#counters = COUNTERS.map((metric) => {
      const { name, help } = metric;
      return { metric, counter: new Counter({ name, help, labelNames, registers }) };
    });
    this.#disks = OF_DISKS.map((metric) => {
      const { name, help } = metric;
      const names = [...labelNames, "drive"] as const;
      return { metric, counter: new Counter({ name, help, labelNames: names, registers }) };
    });
  }

  update(machines: readonly FiguresOf[]): void {
    for (const { gauge } of this.#gauges) gauge.reset();
    for (const { counter } of [...this.#counters, ...this.#disks]) counter.reset();
    for (const { pod, figures } of machines) {
      const name = instanceOf(pod.name);
      if (name === undefined) continue;
      const labels = { node: this.#node, namespace: pod.podNamespace, name };
      for (const { metric, gauge } of this.#gauges) {
        const value = metric.value(figures);
        if (value !== undefined) gauge.set(labels, value);
      }
      for (const { metric, counter } of this.#counters) {
        const value = metric.value(figures);
        if (value !== undefined) counter.inc(labels, value);
      }
      for (const { metric, counter } of this.#disks) {
        for (const disk of figures.guest.disks) {
          counter.inc({ ...labels, drive: disk.name }, Number(metric.value(disk)));
        }
      }
    }
  }
}

/** The control plane calls an instance's pod `virt-launcher-NAME-` and a word that NAME's uid gives. */
function instanceOf(pod: string): string | undefined {
  return /^virt-launcher-(.+)-[a-z0-9]+$/.exec(pod)?.[1];
}
