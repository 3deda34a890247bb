import type { Cause } from "@trine/kube-types";
import type { InstancetypeSpec, Template } from "./specs.ts";

/** A field that the machine says while its instance type says it too; paths below the machine's spec. */
type Rule = readonly [
  path: string,
  machine: (template: Template) => boolean,
  instancetype?: (type: InstancetypeSpec) => boolean,
];

/** As good as not said: KubeVirt cannot tell these from nothing. */
function isSaid(value: unknown): boolean {
  return value !== undefined && value !== "" && value !== 0 && value !== false;
}

const requests = (name: string, what: "requests" | "limits"): Rule => [
  `domain.resources.${what}.${name}`,
  ({ spec }) => spec.domain.resources?.[what]?.[name] !== undefined,
];

const PLACE: readonly Rule[] = [
  [
    "nodeSelector",
    ({ spec }) => spec.nodeSelector !== undefined,
    (type) => type.nodeSelector !== undefined,
  ],
  ["schedulerName", ({ spec }) => isSaid(spec.schedulerName), (type) => isSaid(type.schedulerName)],
];

const PROCESSORS: readonly Rule[] = [
  requests("cpu", "requests"),
  requests("cpu", "limits"),
  ["domain.cpu.sockets", ({ spec }) => isSaid(spec.domain.cpu?.sockets)],
  ["domain.cpu.cores", ({ spec }) => isSaid(spec.domain.cpu?.cores)],
  ["domain.cpu.threads", ({ spec }) => isSaid(spec.domain.cpu?.threads)],
  [
    "domain.cpu.model",
    ({ spec }) => isSaid(spec.domain.cpu?.model),
    ({ cpu }) => cpu.model !== undefined,
  ],
  // The machine's field is called dedicatedCpuPlacement; KubeVirt names the instance type's.
  [
    "domain.cpu.dedicatedCPUPlacement",
    ({ spec }) => isSaid(spec.domain.cpu?.dedicatedCpuPlacement),
    ({ cpu }) => cpu.dedicatedCPUPlacement !== undefined,
  ],
  [
    "domain.cpu.isolateEmulatorThread",
    ({ spec }) => isSaid(spec.domain.cpu?.isolateEmulatorThread),
    ({ cpu }) => cpu.isolateEmulatorThread !== undefined,
  ],
  [
    "domain.cpu.numa",
    ({ spec }) => isSaid(spec.domain.cpu?.numa),
    ({ cpu }) => cpu.numa !== undefined,
  ],
  [
    "domain.cpu.realtime",
    ({ spec }) => isSaid(spec.domain.cpu?.realtime),
    ({ cpu }) => cpu.realtime !== undefined,
  ],
];

/** Only the first of these is told. */
const MEMORY: readonly Rule[] = [
  ["domain.memory.guest", ({ spec }) => spec.domain.memory?.guest !== undefined],
  [
    "domain.memory.hugepages",
    ({ spec }) => spec.domain.memory?.hugepages !== undefined,
    ({ memory }) => memory.hugepages !== undefined,
  ],
  [
    "domain.memory.maxGuest",
    ({ spec }) => spec.domain.memory?.maxGuest !== undefined,
    ({ memory }) => memory.maxGuest !== undefined,
  ],
  requests("memory", "requests"),
  requests("memory", "limits"),
];

const OTHERS: readonly Rule[] = [
  [
    "domain.ioThreads.supplementalPoolThreadCount",
    ({ spec }) => spec.domain.ioThreads?.supplementalPoolThreadCount !== undefined,
    ({ ioThreads }) => ioThreads?.supplementalPoolThreadCount !== undefined,
  ],
  [
    "domain.ioThreadsPolicy",
    ({ spec }) => spec.domain.ioThreadsPolicy !== undefined,
    ({ ioThreadsPolicy }) => ioThreadsPolicy !== undefined,
  ],
  [
    "domain.launchSecurity",
    ({ spec }) => spec.domain.launchSecurity !== undefined,
    ({ launchSecurity }) => launchSecurity !== undefined,
  ],
  [
    "domain.devices.gpus",
    ({ spec }) => (spec.domain.devices.gpus ?? []).length > 0,
    ({ gpus = [] }) => gpus.length > 0,
  ],
  [
    "domain.devices.hostDevices",
    ({ spec }) => (spec.domain.devices.hostDevices ?? []).length > 0,
    ({ hostDevices = [] }) => hostDevices.length > 0,
  ],
];

/** The fields in which a machine and its instance type contradict, in KubeVirt's order and words. */
export function conflictsOf(type: InstancetypeSpec, template: Template, at: string): Cause[] {
  const found = (rules: readonly Rule[]): string[] =>
    rules
      .filter(([, machine, instancetype]) => machine(template) && (instancetype?.(type) ?? true))
      .map(([path]) => `${at}.${path}`);
  const annotations = Object.entries(type.annotations ?? {})
    .filter(([name, value]) => (template.annotations[name] ?? value) !== value)
    .map(([name]) => `annotations.${name}`);
  const memory = found(MEMORY).slice(0, 1);
  return [...found(PLACE), ...found(PROCESSORS), ...memory, ...found(OTHERS), ...annotations].map(
    conflict,
  );
}

function conflict(field: string): Cause {
  const message = `VM field(s) ${field} conflicts with selected instance type`;
  return { reason: "FieldValueInvalid", field, message };
}
