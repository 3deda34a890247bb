import { INVALID, REQUIRED, UNSUPPORTED, type FaultRow } from "../objects.ts";

export const RESOURCES_FAULTS: readonly FaultRow[] = [
  ["no memory", { "domain.memory": undefined }, `domain.memory.guest ${REQUIRED}`],
  ["little memory", { "domain.memory.guest": "900k" }, `domain.memory.guest ${INVALID}`],
  ["a memory below nothing", { "domain.memory.guest": "-1Gi" }, `domain.memory.guest ${INVALID}`],
  [
    "little memory asked for",
    { "domain.resources.requests.memory": "1k" },
    `domain.resources.requests.memory ${INVALID}`,
  ],
  [
    "little memory allowed",
    { "domain.resources.limits.memory": "1k" },
    `domain.resources.limits.memory ${INVALID}`,
    `domain.memory.guest ${INVALID}`,
  ],
  [
    "more memory than allowed",
    { "domain.resources.limits.memory": "512Mi" },
    `domain.memory.guest ${INVALID}`,
  ],
  [
    "more than can be plugged",
    { "domain.memory.maxGuest": "512Mi" },
    `domain.memory.guest ${INVALID}`,
  ],
  [
    "plugging without memory",
    { "domain.memory": { maxGuest: "4Gi" }, "domain.resources.requests.memory": "1Gi" },
    `domain.memory.guest ${REQUIRED}`,
  ],
  [
    "a request above its limit",
    { "domain.resources": { requests: { cpu: "2" }, limits: { cpu: "1500m" } } },
    `domain.resources.requests.cpu ${INVALID}`,
  ],
  [
    "a request below nothing",
    { "domain.resources.requests.cpu": "-500m" },
    `domain.resources.requests.cpu ${INVALID}`,
  ],
  [
    "a limit below nothing",
    { "domain.resources.limits.cpu": -1 },
    `domain.resources.limits.cpu ${INVALID}`,
  ],
  [
    "a page that is no size",
    { "domain.memory.hugepages.pageSize": "big" },
    `domain.memory.hugepages.pageSize ${INVALID}`,
  ],
  [
    "a page of no size",
    { "domain.memory.hugepages.pageSize": "0" },
    `domain.memory.hugepages.pageSize ${INVALID}`,
  ],
  [
    "a page above the memory",
    { "domain.memory.hugepages.pageSize": "2Gi" },
    `domain.memory.hugepages.pageSize ${INVALID}`,
  ],
  [
    "memory of broken pages",
    { "domain.memory": { guest: "1025Mi", hugepages: { pageSize: "2Mi" } } },
    `domain.memory.guest ${INVALID}`,
  ],
  [
    "more sockets than there may be",
    { "domain.cpu": { sockets: 8, maxSockets: 4 } },
    `domain.cpu.sockets ${INVALID}`,
  ],
  ["too many processors", { "domain.cpu": { sockets: 32, cores: 32 } }, `domain.cpu ${INVALID}`],
  [
    "a feature without name",
    { "domain.cpu.features[0]": { name: "" } },
    `domain.cpu.features[0].name ${REQUIRED}`,
  ],
  [
    "an unknown policy of a feature",
    { "domain.cpu.features[0]": { name: "vmx", policy: "maybe" } },
    `domain.cpu.features[0].policy ${UNSUPPORTED}`,
  ],
  [
    "a thread of its own without pinning",
    { "domain.cpu.isolateEmulatorThread": true },
    `domain.cpu.isolateEmulatorThread ${INVALID}`,
  ],
  ["real time without pinning", { "domain.cpu.realtime": {} }, `domain.cpu.realtime ${INVALID}`],
  [
    "NUMA without pinning",
    { "domain.cpu.numa.guestMappingPassthrough": {} },
    `domain.cpu.numa.guestMappingPassthrough ${INVALID}`,
  ],
  [
    "pinning of no number",
    { "domain.cpu.dedicatedCpuPlacement": true },
    `domain.cpu.cores ${REQUIRED}`,
  ],
  [
    "pinning of a half",
    { "domain.cpu.dedicatedCpuPlacement": true, "domain.resources.requests.cpu": "1500m" },
    `domain.resources.requests.cpu ${INVALID}`,
  ],
  [
    "pinning up to a half",
    { "domain.cpu.dedicatedCpuPlacement": true, "domain.resources.limits.cpu": "1.5" },
    `domain.resources.limits.cpu ${INVALID}`,
  ],
  [
    "pinning of less than allowed",
    {
      "domain.cpu.dedicatedCpuPlacement": true,
      "domain.resources": { requests: { cpu: 2 }, limits: { cpu: 4 } },
    },
    `domain.resources.requests.cpu ${INVALID}`,
  ],
  [
    "pinning of four threads",
    { "domain.cpu": { dedicatedCpuPlacement: true, cores: 1, threads: 4 } },
    `domain.cpu.threads ${INVALID}`,
  ],
  [
    "NUMA without large pages",
    {
      "domain.cpu": {
        dedicatedCpuPlacement: true,
        cores: 1,
        numa: { guestMappingPassthrough: {} },
      },
    },
    `domain.memory.hugepages ${REQUIRED}`,
  ],
];
