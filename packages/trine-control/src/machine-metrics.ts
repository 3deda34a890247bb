import type { Cache } from "@trine/kube-client";
import type { VirtualMachine, VirtualMachineInstance } from "@trine/kube-types";
import { Gauge, type Registry } from "prom-client";

/** What is told of. */
export interface Machines {
  readonly machines: Pick<Cache<VirtualMachine>, "list">;
  readonly instances: Pick<Cache<VirtualMachineInstance>, "list">;
  /** Of instances that say none. */
  readonly evictionStrategy: () => string | undefined;
}

type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

interface Family {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly samples: (of: Machines) => readonly Sample[];
}

const GUEST = [
  "guest_os_kernel_release",
  "guest_os_arch",
  "guest_os_machine",
  "guest_os_name",
  "guest_os_version_id",
] as const;
const KIND = ["os", "workload", "flavor", "instance_type", "preference"] as const;

/** As KubeVirt groups what `status.printableStatus` says. */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  starting: ["Provisioning", "Starting", "WaitingForVolumeBinding", "WaitingForReceiver"],
  running: ["Running"],
  migrating: ["Migrating"],
  non_running: ["Stopped", "Paused", "Stopping", "Terminating"],
  error: [
    "CrashLoopBackOff",
    "Unknown",
    "ErrorUnschedulable",
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrorPvcNotFound",
    "DataVolumeError",
  ],
};

const FAMILIES: readonly Family[] = [
  {
    name: "kubevirt_vmi_phase_count",
    help: "VirtualMachineInstances by node, phase and what they run.",
    labels: ["node", "phase", ...KIND, ...GUEST],
    samples: ({ instances }) => counted(instances.list().map(instanceLabels)),
  },
  {
    name: "kubevirt_vmi_info",
    help: "1 of each VirtualMachineInstance, with what it is.",
    labels: ["node", "namespace", "name", "phase", ...KIND, ...GUEST],
    samples: ({ instances }) =>
      instances.list().map((vmi) => {
        const { namespace = "", name } = vmi.metadata;
        return { labels: { namespace, name, ...instanceLabels(vmi) }, value: 1 };
      }),
  },
  {
    name: "kubevirt_vmi_non_evictable",
    help: "1 of a VirtualMachineInstance that is to migrate when its node is drained and cannot: it holds the node up. Else 0.",
    labels: ["node", "namespace", "name"],
    samples: ({ instances, evictionStrategy }) =>
      instances.list().flatMap((vmi) => {
        const { namespace = "", name } = vmi.metadata;
        const { nodeName: node = "", phase } = vmi.status ?? {};
        if (phase !== "Running") return [];
        const strategy = vmi.spec.evictionStrategy ?? evictionStrategy();
        const holds = strategy === "LiveMigrate" && !isMovable(vmi);
        return [{ labels: { node, namespace, name }, value: holds ? 1 : 0 }];
      }),
  },
  {
    name: "kubevirt_vm_info",
    help: "1 of each VirtualMachine, with what it is.",
    labels: ["namespace", "name", "machine_type", ...KIND, "status", "status_group"],
    samples: ({ machines }) =>
      machines.list().map((vm) => ({ labels: machineLabels(vm), value: 1 })),
  },
  ...Object.keys(GROUPS).map((group): Family => ({
    name: `kubevirt_vm_${group}_status_last_transition_timestamp_seconds`,
    help: "Since when a VirtualMachine is in a state of this group; 0 while it is not.",
    labels: ["namespace", "name"],
    samples: ({ machines }) =>
      machines.list().map((vm) => {
        const { namespace = "", name } = vm.metadata;
        const isIn = groupOf(vm.status?.printableStatus) === group;
        return { labels: { namespace, name }, value: isIn ? lastChange(vm) : 0 };
      }),
  })),
];

/** What the API says of machines, by KubeVirt's names, read when it is asked for. */
export function registerMachines(registry: Registry, of: () => Machines | undefined): void {
  for (const { name, help, labels, samples } of FAMILIES) {
    const gauge = new Gauge({
      name,
      help,
      labelNames: [...labels],
      registers: [registry],
      collect: () => {
        gauge.reset();
        const now = of();
        if (now === undefined) return;
        for (const { labels: at, value } of samples(now)) gauge.set(at, value);
      },
    });
  }
}

function isMovable({ status }: VirtualMachineInstance): boolean {
  const { conditions = [] } = status ?? {};
  return conditions.some(({ type, status: is }) => type === "LiveMigratable" && is === "True");
}

function counted(all: readonly Labels[]): readonly Sample[] {
  const counts = new Map<string, { readonly labels: Labels; value: number }>();
  for (const labels of all) {
    const key = JSON.stringify(labels);
    const there = counts.get(key);
    if (there === undefined) counts.set(key, { labels, value: 1 });
    else there.value += 1;
  }
  return [...counts.values()];
}

function instanceLabels({ metadata, status }: VirtualMachineInstance): Labels {
  const guest = status?.guestOSInfo;
  return {
    node: status?.nodeName ?? "",
    phase: (status?.phase ?? "").toLowerCase(),
    ...kindLabels(metadata?.annotations),
    guest_os_kernel_release: guest?.kernelRelease ?? "",
    guest_os_arch: guest?.machine ?? "",
    guest_os_machine: guest?.machine ?? "",
    guest_os_name: guest?.name ?? "",
    guest_os_version_id: guest?.versionId ?? "",
  };
}

function machineLabels({ metadata, spec, status }: VirtualMachine): Labels {
  const { instancetype, preference, template } = spec;
  const printable = status?.printableStatus ?? "";
  return {
    namespace: metadata?.namespace ?? "",
    name: metadata?.name ?? "",
    machine_type: template.spec?.domain.machine?.type ?? "",
    ...kindLabels(template.metadata?.annotations ?? {}),
    instance_type: instancetype?.name ?? "<none>",
    preference: preference?.name ?? "<none>",
    status: printable.toLowerCase(),
    status_group: groupOf(printable) ?? "",
  };
}

/** What templates and instance types have noted on the object. */
function kindLabels(annotations: Readonly<Record<string, string>> = {}): Labels {
  const of = (...names: readonly string[]): string =>
    names.map((name) => annotations[name]).find((text) => text !== undefined) ?? "<none>";
  return {
    os: of("vm.kubevirt.io/os"),
    workload: of("vm.kubevirt.io/workload"),
    flavor: of("vm.kubevirt.io/flavor"),
    instance_type: of("kubevirt.io/instancetype-name", "kubevirt.io/cluster-instancetype-name"),
    preference: of("kubevirt.io/preference-name", "kubevirt.io/cluster-preference-name"),
  };
}

function groupOf(printable: string | undefined): string | undefined {
  return Object.keys(GROUPS).find((group) => GROUPS[group]?.includes(printable ?? "") ?? false);
}

/** In seconds; the object's own time where no condition has one. */
function lastChange({ metadata, status }: VirtualMachine): number {
  const times = (status?.conditions ?? []).map(({ lastTransitionTime }) =>
    Date.parse(String(lastTransitionTime)),
  );
  const known = times.filter((time) => Number.isFinite(time));
  const made = Date.parse(String(metadata?.creationTimestamp));
  const latest = known.length > 0 ? Math.max(...known) : made;
  return Number.isFinite(latest) ? Math.floor(latest / 1000) : 0;
}
