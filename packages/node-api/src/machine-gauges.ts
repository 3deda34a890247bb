import { Gauge } from "prom-client";
import type { Registry } from "prom-client";
import type { Engine, MachineFigures } from "@trine/engine";

type Value = (figures: MachineFigures) => number | undefined;

const disks =
  (of: (disk: MachineFigures["guest"]["disks"][number]) => bigint): Value =>
  ({ guest }) =>
    Number(guest.disks.reduce((sum, disk) => sum + of(disk), 0n));

/** What is told of each running machine: the guest's own figures, and apart from them the host's cost. */
const GAUGES: readonly { name: string; help: string; value: Value }[] = [
  {
    name: "trine_machine_cpu_seconds",
    help: "vCPU time of the machine.",
    value: ({ guest }) => Number(guest.cpuNs) / 1e9,
  },
  {
    name: "trine_machine_memory_bytes",
    help: "Memory given to the guest.",
    value: ({ guest }) => guest.memory.totalBytes,
  },
  {
    name: "trine_machine_memory_available_bytes",
    help: "Memory the guest says it could still use.",
    value: ({ guest }) => guest.memory.availableBytes,
  },
  {
    name: "trine_machine_disk_read_bytes",
    help: "Bytes the guest has read from its disks.",
    value: disks((disk) => disk.readBytes),
  },
  {
    name: "trine_machine_disk_written_bytes",
    help: "Bytes the guest has written to its disks.",
    value: disks((disk) => disk.writtenBytes),
  },
  {
    name: "trine_machine_network_received_bytes",
    help: "Bytes the guest has received.",
    value: ({ network }) => network?.receivedBytes,
  },
  {
    name: "trine_machine_network_sent_bytes",
    help: "Bytes the guest has sent.",
    value: ({ network }) => network?.sentBytes,
  },
  {
    name: "trine_machine_host_vmm_bytes",
    help: "Resident memory of the machine's VMM on the host, the guest's pages included.",
    value: ({ host }) => host.vmmBytes,
  },
  {
    name: "trine_machine_host_shim_bytes",
    help: "Resident memory of the pod's shim.",
    value: ({ host }) => host.shimBytes,
  },
];

/** Gauges by pod, read anew at each scrape. */
export class MachineGauges {
  readonly #engine: Engine;
  readonly #gauges: readonly { gauge: Gauge<"namespace" | "pod">; value: Value }[];

  constructor(engine: Engine, registry: Registry) {
    this.#engine = engine;
    this.#gauges = GAUGES.map(({ name, help, value }) => ({
      gauge: new Gauge({ name, help, labelNames: ["namespace", "pod"], registers: [registry] }),
      value,
    }));
  }

  /** Answers what it has read, for others that tell of the same. */
  async update(): Promise<Awaited<ReturnType<Engine["figures"]>>> {
    const machines = await this.#engine.figures();
    for (const { gauge, value } of this.#gauges) {
      gauge.reset();
      for (const { pod, figures } of machines) {
        const found = value(figures);
        if (found !== undefined) gauge.set({ namespace: pod.podNamespace, pod: pod.name }, found);
      }
    }
    return machines;
  }
}
