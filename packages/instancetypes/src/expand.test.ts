import { expect, test } from "vitest";
import { without } from "./prefer.ts";
import type { InstancetypeSpec, PreferenceSpec } from "./specs.ts";
import { FOUR, expanded, machineWith } from "./testing.ts";

const AT = "spec.template.spec.domain";

/** What the machine says, what its instance type says, and the fields that are told. */
test.each<[object, Partial<InstancetypeSpec>, readonly string[]]>([
  [{ resources: { requests: { cpu: "1" } } }, {}, [`${AT}.resources.requests.cpu`]],
  [{ resources: { limits: { cpu: "1" } } }, {}, [`${AT}.resources.limits.cpu`]],
  [
    { cpu: { sockets: 1, cores: 2, threads: 1 } },
    {},
    [`${AT}.cpu.sockets`, `${AT}.cpu.cores`, `${AT}.cpu.threads`],
  ],
  [{ cpu: { model: "EPYC" } }, { cpu: { guest: 1, model: "host-model" } }, [`${AT}.cpu.model`]],
  [{ cpu: { model: "EPYC" } }, {}, []],
  [
    { cpu: { dedicatedCpuPlacement: true } },
    { cpu: { guest: 1, dedicatedCPUPlacement: true } },
    [`${AT}.cpu.dedicatedCPUPlacement`],
  ],
  [
    { cpu: { dedicatedCpuPlacement: true, isolateEmulatorThread: true } },
    { cpu: { guest: 1, isolateEmulatorThread: false } },
    [`${AT}.cpu.isolateEmulatorThread`],
  ],
  [
    { cpu: { numa: {}, realtime: {} } },
    { cpu: { guest: 1, numa: {}, realtime: {} } },
    [`${AT}.cpu.numa`, `${AT}.cpu.realtime`],
  ],
  [{ memory: { guest: "1Gi" } }, {}, [`${AT}.memory.guest`]],
  [
    { memory: { guest: "1Gi" }, resources: { requests: { memory: "1Gi" } } },
    {},
    [`${AT}.memory.guest`],
  ],
  [
    { memory: { hugepages: { pageSize: "2Mi" } } },
    { memory: { guest: "1Gi", hugepages: { pageSize: "1Gi" } } },
    [`${AT}.memory.hugepages`],
  ],
  [
    { memory: { maxGuest: "8Gi" } },
    { memory: { guest: "1Gi", maxGuest: "2Gi" } },
    [`${AT}.memory.maxGuest`],
  ],
  [{ resources: { requests: { memory: "1Gi" } } }, {}, [`${AT}.resources.requests.memory`]],
  [{ resources: { limits: { memory: "1Gi" } } }, {}, [`${AT}.resources.limits.memory`]],
  [
    { ioThreads: { supplementalPoolThreadCount: 1 } },
    { ioThreads: { supplementalPoolThreadCount: 2 } },
    [`${AT}.ioThreads.supplementalPoolThreadCount`],
  ],
  [{ ioThreadsPolicy: "auto" }, { ioThreadsPolicy: "shared" }, [`${AT}.ioThreadsPolicy`]],
  [{ launchSecurity: { sev: {} } }, { launchSecurity: { snp: {} } }, [`${AT}.launchSecurity`]],
  [
    {
      devices: {
        gpus: [{ name: "g", deviceName: "d" }],
        hostDevices: [{ name: "h", deviceName: "d" }],
      },
    },
    {
      gpus: [{ name: "g", deviceName: "d" }],
      hostDevices: [{ name: "h", deviceName: "d" }],
    },
    [`${AT}.devices.gpus`, `${AT}.devices.hostDevices`],
  ],
])("%j against %j", (domain, type, fields) => {
  const { conflicts = [] } = expanded({ instancetype: { ...FOUR, ...type } }, machineWith(domain));
  expect(conflicts.map(({ field }) => field)).toEqual(fields);
  for (const { field, message, reason } of conflicts) {
    expect(reason).toBe("FieldValueInvalid");
    expect(message).toBe(`VM field(s) ${field} conflicts with selected instance type`);
  }
});

test("a place and annotations that contradict are told by their names", () => {
  const machine = machineWith({}, { nodeSelector: { a: "b" }, schedulerName: "mine" });
  const template = { ...machine.spec.template, metadata: { annotations: { k: "1", same: "s" } } };
  const instancetype = {
    ...FOUR,
    nodeSelector: { c: "d" },
    schedulerName: "theirs",
    annotations: { k: "2", same: "s", other: "o" },
  };
  const said = { ...machine, spec: { ...machine.spec, template } };
  const { conflicts } = expanded({ instancetype }, said);
  expect(conflicts?.map(({ field }) => field)).toEqual([
    "spec.template.spec.nodeSelector",
    "spec.template.spec.schedulerName",
    "annotations.k",
  ]);
});

test("a machine takes all that its instance type says", () => {
  const instancetype: InstancetypeSpec = {
    cpu: {
      guest: 4,
      model: "EPYC",
      dedicatedCPUPlacement: true,
      isolateEmulatorThread: true,
      numa: { guestMappingPassthrough: {} },
      realtime: {},
      maxSockets: 4,
    },
    memory: { guest: "8Gi", hugepages: { pageSize: "1Gi" }, maxGuest: "16Gi" },
    nodeSelector: { c: "d" },
    schedulerName: "theirs",
    ioThreadsPolicy: "auto",
    ioThreads: { supplementalPoolThreadCount: 2 },
    launchSecurity: { snp: {} },
    gpus: [{ name: "g", deviceName: "d" }],
    hostDevices: [{ name: "h", deviceName: "d" }],
    annotations: { k: "v" },
  };
  const { machine } = expanded({ instancetype }, machineWith());
  const { metadata, spec } = machine?.spec.template ?? {};
  expect(metadata?.annotations).toEqual({ k: "v" });
  expect(spec).toMatchObject({
    nodeSelector: { c: "d" },
    schedulerName: "theirs",
    domain: {
      cpu: {
        sockets: 4,
        cores: 1,
        threads: 1,
        model: "EPYC",
        dedicatedCpuPlacement: true,
        isolateEmulatorThread: true,
        numa: { guestMappingPassthrough: {} },
        realtime: {},
        maxSockets: 4,
      },
      memory: { guest: "8Gi", hugepages: { pageSize: "1Gi" }, maxGuest: "16Gi" },
      ioThreadsPolicy: "auto",
      ioThreads: { supplementalPoolThreadCount: 2 },
      launchSecurity: { snp: {} },
      devices: { gpus: instancetype.gpus, hostDevices: instancetype.hostDevices },
    },
  });
});

test("memory that is promised twice is asked for once", () => {
  const memory = { guest: "2Gi", overcommitPercent: 50 };
  const { machine } = expanded({ instancetype: { ...FOUR, memory } }, machineWith());
  const domain = machine?.spec.template.spec?.domain;
  expect(domain?.resources).toEqual({ requests: { memory: "1Gi" } });
  expect(domain?.memory?.guest).toBe("2Gi");
});

test("a machine that was given nothing by name is left as it is", () => {
  const spec = without(machineWith().spec, "instancetype", "preference");
  const machine = { ...machineWith(), spec };
  expect(expanded({}, machine)).toEqual({ machine });
});

test("an expanded machine points to nothing any more", () => {
  const ref = { name: "chosen", controllerRevisionRef: { name: "r" } };
  const status = { created: true, instancetypeRef: ref, preferenceRef: ref };
  const { machine } = expanded({ instancetype: FOUR }, { ...machineWith(), status });
  expect(machine?.status).toEqual({ created: true });
  expect(machine?.spec.preference).toBeUndefined();
});

const SPREAD = { preferredCPUTopology: "spread" } as const;

test.each<[NonNullable<PreferenceSpec["cpu"]>, number, readonly number[]]>([
  [{}, 4, [4, 1, 1]],
  [{ preferredCPUTopology: "sockets" }, 4, [4, 1, 1]],
  [{ preferredCPUTopology: "preferSockets" }, 4, [4, 1, 1]],
  [{ preferredCPUTopology: "cores" }, 4, [1, 4, 1]],
  [{ preferredCPUTopology: "preferCores" }, 4, [1, 4, 1]],
  [{ preferredCPUTopology: "threads" }, 4, [1, 1, 4]],
  [{ preferredCPUTopology: "preferThreads" }, 4, [1, 1, 4]],
  [{ preferredCPUTopology: "any" }, 4, [4, 1, 1]],
  [{ preferredCPUTopology: "preferAny" }, 4, [4, 1, 1]],
  [SPREAD, 8, [4, 2, 1]],
  [{ preferredCPUTopology: "preferSpread" }, 8, [4, 2, 1]],
  [{ ...SPREAD, spreadOptions: { ratio: 4 } }, 8, [2, 4, 1]],
  [{ ...SPREAD, spreadOptions: { across: "CoresThreads" } }, 8, [1, 4, 2]],
  [{ ...SPREAD, spreadOptions: { across: "SocketsCoresThreads" } }, 8, [2, 2, 2]],
  [{ ...SPREAD, spreadOptions: { across: "SocketsCoresThreads", ratio: 4 } }, 8, [1, 4, 2]],
])("%j makes of %i processors %j", (cpu, guest, [sockets, cores, threads]) => {
  const instancetype = { ...FOUR, cpu: { guest } };
  const choice = { instancetype, preference: { cpu } };
  const { machine } = expanded(choice, machineWith());
  expect(machine?.spec.template.spec?.domain.cpu).toMatchObject({ sockets, cores, threads });
});

test.each<[NonNullable<PreferenceSpec["cpu"]>, number, string]>([
  [SPREAD, 1, "1 vCPUs provided by the instance type are not divisible"],
  [SPREAD, 3, "Spec.CPU.PreferSpreadOptions.Ratio of 2 provided by the preference"],
  [{ ...SPREAD, spreadOptions: { across: "CoresThreads" } }, 3, "threads per core 2"],
  [
    { ...SPREAD, spreadOptions: { across: "SocketsCoresThreads", ratio: 4 } },
    4,
    "threads per core 2 and Spec.PreferSpreadSocketToCoreRatio",
  ],
])("%j does not divide %i processors", (cpu, guest, words) => {
  const choice = { instancetype: { ...FOUR, cpu: { guest } }, preference: { cpu } };
  const { conflicts } = expanded(choice, machineWith());
  expect(conflicts).toEqual([
    {
      reason: "FieldValueInvalid",
      field: "instancetype.spec.cpu.guest",
      message: expect.stringContaining(words) as string,
    },
  ]);
});
