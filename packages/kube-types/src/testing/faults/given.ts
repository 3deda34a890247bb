import { INVALID, REQUIRED, UNSUPPORTED, type FaultRow } from "../objects.ts";

export const instancetype = {
  apiVersion: "instancetype.kubevirt.io/v1beta1",
  kind: "VirtualMachineInstancetype",
  spec: { cpu: { guest: 2 }, memory: { guest: "2Gi" } },
};

export const INSTANCETYPE_FAULTS: readonly FaultRow[] = [
  ["no processors", { cpu: {} }, `cpu.guest ${REQUIRED}`],
  ["processors of none", { "cpu.guest": 0 }, `cpu.guest ${INVALID}`],
  ["fewer processors than none", { "cpu.guest": -1 }, `cpu.guest ${INVALID}`],
  ["fewer sockets at most", { "cpu.maxSockets": -1 }, `cpu.maxSockets ${INVALID}`],
  ["no memory", { memory: {} }, `memory.guest ${REQUIRED}`],
  ["memory of nothing", { "memory.guest": "0" }, `memory.guest ${INVALID}`],
  ["memory that is no quantity", { "memory.guest": "much" }, `memory.guest ${INVALID}`],
  ["less at most than at first", { "memory.maxGuest": "1Gi" }, `memory.maxGuest ${INVALID}`],
  [
    "more than all promised twice",
    { "memory.overcommitPercent": 101 },
    `memory.overcommitPercent ${INVALID}`,
  ],
  [
    "less than none promised twice",
    { "memory.overcommitPercent": -1 },
    `memory.overcommitPercent ${INVALID}`,
  ],
  [
    "large pages that are promised twice",
    { "memory.overcommitPercent": 50, "memory.hugepages": { pageSize: "2Mi" } },
    `memory.overcommitPercent ${INVALID}`,
  ],
  ["an unknown policy of threads", { ioThreadsPolicy: "many" }, `ioThreadsPolicy ${UNSUPPORTED}`],
  ["a device without name", { gpus: [{ deviceName: "a.b/c" }] }, `gpus[0].name ${REQUIRED}`],
];

export const preference = {
  apiVersion: "instancetype.kubevirt.io/v1beta1",
  kind: "VirtualMachinePreference",
  spec: {},
};

const spread = (of: object): FaultRow[1] => ({
  cpu: { preferredCPUTopology: "spread", spreadOptions: of },
});

export const PREFERENCE_FAULTS: readonly FaultRow[] = [
  [
    "an unknown topology",
    { "cpu.preferredCPUTopology": "ring" },
    `cpu.preferredCPUTopology ${UNSUPPORTED}`,
  ],
  [
    "a spread over the unknown",
    spread({ across: "Dies" }),
    `cpu.spreadOptions.across ${UNSUPPORTED}`,
  ],
  [
    "three threads of a core",
    spread({ across: "CoresThreads", ratio: 3 }),
    `cpu.spreadOptions.ratio ${INVALID}`,
  ],
  ["a ratio below nothing", spread({ ratio: -1 }), `cpu.spreadOptions.ratio ${INVALID}`],
  [
    "a feature without name",
    { "cpu.preferredCPUFeatures": [{ policy: "require" }] },
    `cpu.preferredCPUFeatures[0].name ${REQUIRED}`,
  ],
  [
    "memory that is no quantity",
    { "requirements.memory.guest": "much" },
    `requirements.memory.guest ${INVALID}`,
  ],
];
