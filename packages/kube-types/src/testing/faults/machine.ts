import {
  DUPLICATE,
  INVALID,
  REQUIRED,
  UNSUPPORTED,
  GOOD_INSTANCE,
  type ByPath,
  type FaultRow,
} from "../objects.ts";

export const machine = {
  apiVersion: "kubevirt.io/v1",
  kind: "VirtualMachine",
  spec: { runStrategy: "Halted", template: { spec: GOOD_INSTANCE.spec } },
};

const volume = {
  source: { blank: {} },
  storage: { resources: { requests: { storage: "1Gi" } } },
};
export const used: ByPath = {
  "template.spec.volumes[0]": { name: "root", dataVolume: { name: "d" } },
  "dataVolumeTemplates[0]": { metadata: { name: "d" }, spec: volume },
};
export const sized: ByPath = {
  instancetype: { name: "u1.small" },
  "template.spec.domain.memory": undefined,
};

export const MACHINE_FAULTS: readonly FaultRow[] = [
  ["a machine without template", { template: undefined }, `template ${REQUIRED}`],
  ["a template of nothing", { template: {} }, `template.spec ${REQUIRED}`],
  ["no word on running", { runStrategy: undefined }, `runStrategy ${REQUIRED}`],
  ["two words on running", { running: true }, `running ${INVALID}`],
  ["an unknown strategy", { runStrategy: "Sometimes" }, `runStrategy ${UNSUPPORTED}`],
  [
    "an unknown way to change volumes",
    { updateVolumesStrategy: "Swap" },
    `updateVolumesStrategy ${UNSUPPORTED}`,
  ],
  [
    "a fault of the template",
    { "template.spec.domain.memory.guest": "1" },
    `template.spec.domain.memory.guest ${INVALID}`,
  ],
  [
    "an odd label",
    { "template.metadata.labels": { "a b": "c" } },
    `template.metadata.labels ${INVALID}`,
  ],
  ["an instance type of no name", { ...sized, instancetype: {} }, `instancetype.name ${REQUIRED}`],
  [
    "an instance type of an odd kind",
    { ...sized, "instancetype.kind": "Pod" },
    `instancetype.kind ${UNSUPPORTED}`,
  ],
  [
    "an instance type of two sources",
    { ...sized, "instancetype.inferFromVolume": "root" },
    `instancetype ${INVALID}`,
  ],
  [
    "an instance type of no volume",
    { ...sized, instancetype: { inferFromVolume: "x" } },
    `instancetype.inferFromVolume ${INVALID}`,
  ],
  [
    "a policy of no inference",
    { ...sized, "instancetype.inferFromVolumeFailurePolicy": "Ignore" },
    `instancetype.inferFromVolumeFailurePolicy ${INVALID}`,
  ],
  [
    "a preference of an odd kind",
    { preference: { name: "p", kind: "VirtualMachineInstancetype" } },
    `preference.kind ${UNSUPPORTED}`,
  ],
  [
    "memory beside an instance type",
    { instancetype: { name: "u1.small" } },
    `template.spec.domain.memory.guest ${INVALID}`,
  ],
  [
    "cores beside an instance type",
    { ...sized, "template.spec.domain.cpu": { cores: 2 } },
    `template.spec.domain.cpu.cores ${INVALID}`,
  ],
  [
    "requests beside an instance type",
    { ...sized, "template.spec.domain.resources.requests.cpu": "1" },
    `template.spec.domain.resources.requests.cpu ${INVALID}`,
  ],
  [
    "a data volume that is not used",
    { "dataVolumeTemplates[0]": { metadata: { name: "d" }, spec: volume } },
    `dataVolumeTemplates[0].metadata.name ${INVALID}`,
  ],
  [
    "a data volume of no name",
    { ...used, "dataVolumeTemplates[1]": { spec: volume } },
    `dataVolumeTemplates[1].metadata.name ${REQUIRED}`,
  ],
  [
    "two data volumes of a name",
    { ...used, "dataVolumeTemplates[1]": { metadata: { name: "d" }, spec: volume } },
    `dataVolumeTemplates[1].metadata.name ${DUPLICATE}`,
  ],
  [
    "a data volume of nothing",
    { ...used, "dataVolumeTemplates[0].spec.source": {} },
    `dataVolumeTemplates[0].spec.source ${REQUIRED}`,
  ],
  ["a text for a switch", { running: "yes" }, "running FieldValueTypeInvalid"],
];
