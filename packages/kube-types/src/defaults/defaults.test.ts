import { expect, test } from "vitest";
import { checkObject } from "../checks/object.ts";
import { type VirtualMachineInstance, virtualMachineInstance } from "../kubevirt/instance.ts";
import type { VirtualMachine } from "../kubevirt/machine.ts";
import { fullSample } from "../schema/sample.ts";
import { withoutNulls } from "../schema/without-nulls.ts";
import { type ByPath, GOOD_INSTANCE, withFields } from "../testing.ts";
import { defaultInstanceSpec } from "./instance-spec.ts";
import { INSTANCE_FINALIZER, defaultInstance, defaultMachine } from "./objects.ts";
import { CLUSTER_DEFAULTS, type ClusterDefaults } from "./settings.ts";

const UUID = "5d307ca9-b3ef-428c-8861-06e72d69f223";
const instance = GOOD_INSTANCE as unknown as VirtualMachineInstance;

function filled(fields: ByPath): object {
  const spec = withFields(instance.spec, fields) as VirtualMachineInstance["spec"];
  return defaultInstanceSpec(spec, CLUSTER_DEFAULTS, UUID);
}

test.each<[string, Partial<ClusterDefaults>, number, string]>([
  ["all may grow to the same", { maxCpuSockets: 8, maxGuest: "8Gi" }, 8, "8Gi"],
  ["none shrinks", { maxCpuSockets: 1, maxGuest: "512Mi" }, 2, "1Gi"],
  ["by a ratio", { maxHotplugRatio: 3 }, 6, "3Gi"],
  ["nothing that is said", { maxCpuSockets: 0, maxGuest: 0 }, 8, "4Gi"],
])("the cluster says how far machines grow: %s", (_, said, maxSockets, maxGuest) => {
  const { spec } = instance;
  const sized = withFields(spec, { "domain.cpu.sockets": 2 }) as VirtualMachineInstance["spec"];
  const { domain } = defaultInstanceSpec(sized, { ...CLUSTER_DEFAULTS, ...said }, UUID);
  expect([domain.cpu?.maxSockets, domain.memory?.maxGuest]).toEqual([maxSockets, maxGuest]);
});

const NIC = "domain.devices.interfaces";
const OFF = { enabled: false };

/** What is said, and what is there then. */
test.each<[string, ByPath, ByPath]>([
  [
    "architecture, machine, firmware",
    {},
    { architecture: "amd64", "domain.machine": { type: "q35" }, "domain.firmware": { uuid: UUID } },
  ],
  ["the machine of ARM", { architecture: "arm64" }, { "domain.machine.type": "virt" }],
  [
    "the machine of a mainframe",
    { architecture: "s390x" },
    { "domain.machine.type": "s390-ccw-virtio" },
  ],
  ["a machine that is said", { "domain.machine.type": "pc" }, { "domain.machine.type": "pc" }],
  [
    "one processor",
    {},
    { "domain.cpu": { sockets: 1, cores: 1, threads: 1, maxSockets: 4, model: "host-model" } },
  ],
  [
    "sockets by the limit",
    { "domain.resources": { requests: { cpu: "1" }, limits: { cpu: "2500m" } } },
    { "domain.cpu.sockets": 3, "domain.cpu.maxSockets": 12 },
  ],
  ["sockets by the request", { "domain.resources.requests.cpu": "2" }, { "domain.cpu.sockets": 2 }],
  [
    "cores that are said",
    { "domain.cpu.cores": 4, "domain.resources.limits.cpu": "8" },
    { "domain.cpu.sockets": 1, "domain.cpu.cores": 4 },
  ],
  [
    "255 processors at most",
    { "domain.cpu": { sockets: 100, cores: 2 } },
    { "domain.cpu.maxSockets": 127 },
  ],
  ["a model that is said", { "domain.cpu.model": "EPYC" }, { "domain.cpu.model": "EPYC" }],
  ["memory to grow to", {}, { "domain.memory": { guest: "1Gi", maxGuest: "4Gi" } }],
  [
    "memory by the request",
    {
      "domain.memory": undefined,
      "domain.resources": { requests: { memory: "64M" }, limits: { memory: "1Gi" } },
    },
    { "domain.memory.guest": "64M" },
  ],
  [
    "memory by the limit",
    { "domain.memory": undefined, "domain.resources.limits.memory": "1Gi" },
    { "domain.memory.guest": "1Gi" },
  ],
  [
    "memory that does not grow on ARM",
    { architecture: "arm64" },
    { "domain.memory": { guest: "1Gi" } },
  ],
  ["memory that is said", { "domain.memory.maxGuest": "2Gi" }, { "domain.memory.maxGuest": "2Gi" }],
  [
    "a disk on sata",
    { "domain.devices.disks[0]": { name: "root" } },
    { "domain.devices.disks[0]": { name: "root", disk: { bus: "sata" } } },
  ],
  [
    "a disk that is said",
    {},
    { "domain.devices.disks[0]": { name: "root", disk: { bus: "virtio" } } },
  ],
  [
    "a drive",
    { "domain.devices.disks[0]": { name: "root", cdrom: {} } },
    { "domain.devices.disks[0].cdrom": { bus: "sata", readonly: true, tray: "closed" } },
  ],
  [
    "a drive that is open",
    { "domain.devices.disks[0]": { name: "root", cdrom: { tray: "open", bus: "" } } },
    { "domain.devices.disks[0].cdrom": { bus: "sata", readonly: true, tray: "open" } },
  ],
  [
    "a LUN",
    { "domain.devices.disks[0]": { name: "root", lun: {} } },
    { "domain.devices.disks[0].lun": { bus: "sata" } },
  ],
  [
    "a disk for a volume without",
    { "domain.devices.disks": undefined },
    { "domain.devices.disks": [{ name: "root", disk: { bus: "sata" } }] },
  ],
  [
    "no disk for a share",
    {
      "domain.devices.disks": undefined,
      "domain.devices.filesystems": [{ name: "root", virtiofs: {} }],
    },
    { "domain.devices.disks": undefined },
  ],
  [
    "no disk for a dump",
    { "volumes[1]": { name: "dump", memoryDump: { claimName: "c" } } },
    { "domain.devices.disks[1]": undefined },
  ],
  [
    "a tablet on USB",
    { "domain.devices.inputs": [{ name: "i", type: "" }] },
    { "domain.devices.inputs[0]": { name: "i", type: "tablet", bus: "usb" } },
  ],
  [
    "a watchdog that resets",
    { "domain.devices.watchdog": { name: "w", i6300esb: {} } },
    { "domain.devices.watchdog.i6300esb.action": "reset" },
  ],
  [
    "a watchdog of a mainframe",
    { "domain.devices.watchdog": { name: "w", diag288: {} } },
    { "domain.devices.watchdog.diag288.action": "reset" },
  ],
  [
    "the pod's network",
    { networks: undefined, [NIC]: undefined },
    { networks: [{ name: "default", pod: {} }], [NIC]: [{ name: "default", bridge: {} }] },
  ],
  [
    "no network where none is wanted",
    { networks: undefined, [NIC]: undefined, "domain.devices.autoattachPodInterface": false },
    { networks: undefined, [NIC]: undefined },
  ],
  ["networks that are said", {}, { [NIC]: [{ name: "default", masquerade: {} }] }],
  [
    "times of a probe",
    { readinessProbe: { guestAgentPing: {} } },
    {
      readinessProbe: {
        guestAgentPing: {},
        timeoutSeconds: 1,
        periodSeconds: 10,
        successThreshold: 1,
        failureThreshold: 3,
      },
    },
  ],
  [
    "times that are said",
    { livenessProbe: { guestAgentPing: {}, periodSeconds: 5 } },
    { "livenessProbe.periodSeconds": 5, "livenessProbe.failureThreshold": 3 },
  ],
  ["no eviction", {}, { evictionStrategy: "None" }],
  [
    "a way of eviction that is said",
    { evictionStrategy: "LiveMigrate" },
    { evictionStrategy: "LiveMigrate" },
  ],
  ["an image of a version", {}, { "volumes[0].containerDisk.imagePullPolicy": "IfNotPresent" }],
  [
    "the latest image",
    { "volumes[0].containerDisk.image": "host:5000/disk:latest" },
    { "volumes[0].containerDisk.imagePullPolicy": "Always" },
  ],
  [
    "an image without tag",
    { "volumes[0].containerDisk.image": "host:5000/disk" },
    { "volumes[0].containerDisk.imagePullPolicy": "Always" },
  ],
  [
    "an image by its digest",
    { "volumes[0].containerDisk.image": "disk@sha256:abc" },
    { "volumes[0].containerDisk.imagePullPolicy": "IfNotPresent" },
  ],
  [
    "features that are named",
    { "domain.features": { acpi: {}, smm: OFF } },
    { "domain.features": { acpi: { enabled: true }, smm: OFF } },
  ],
  [
    "Hyper-V's features",
    { "domain.features.hyperv": { relaxed: {}, spinlocks: {}, synictimer: { direct: {} } } },
    {
      "domain.features.hyperv": {
        relaxed: { enabled: true },
        spinlocks: { enabled: true, spinlocks: 4096 },
        synictimer: { enabled: true, direct: { enabled: true } },
      },
    },
  ],
  [
    "no retries of what is off",
    { "domain.features.hyperv.spinlocks": OFF },
    { "domain.features.hyperv.spinlocks": OFF },
  ],
  [
    "timers that are named",
    { "domain.clock": { utc: {}, timer: { hpet: { present: false }, rtc: {} } } },
    { "domain.clock": { utc: {}, timer: { hpet: { present: false }, rtc: { present: true } } } },
  ],
])("%s", (_, said, wanted) => {
  const spec = filled(said);
  expect(withFields(spec, wanted)).toEqual(spec);
  const again = defaultInstanceSpec(
    spec as VirtualMachineInstance["spec"],
    CLUSTER_DEFAULTS,
    "other",
  );
  expect(again).toEqual(spec);
});

const fresh = { uuid: () => UUID, now: new Date("2026-01-02T03:04:05.678Z") };

test("a new instance is Pending, held, and says what it starts with", () => {
  const made = defaultInstance(instance, CLUSTER_DEFAULTS, fresh);
  expect(made.metadata?.finalizers).toEqual([INSTANCE_FINALIZER]);
  expect(made.status).toEqual({
    phase: "Pending",
    phaseTransitionTimestamps: [
      { phase: "Pending", phaseTransitionTimestamp: "2026-01-02T03:04:05Z" },
    ],
    currentCPUTopology: { sockets: 1, cores: 1, threads: 1 },
    memory: { guestAtBoot: "1Gi", guestCurrent: "1Gi", guestRequested: "1Gi" },
  });
  expect(checkObject(made).causes).toEqual([]);
});

test("a new machine keeps its identity and leaves the rest to its instances", () => {
  const machine = {
    apiVersion: "kubevirt.io/v1",
    kind: "VirtualMachine",
    spec: { runStrategy: "Always", template: { spec: instance.spec } },
  } as VirtualMachine;
  const made = defaultMachine(machine, CLUSTER_DEFAULTS, fresh);
  const spec = made.spec.template.spec;
  expect(spec?.architecture).toBe("amd64");
  expect(spec?.domain.machine).toEqual({ type: "q35" });
  expect(spec?.domain.firmware).toEqual({ uuid: UUID, serial: UUID });
  expect(spec?.domain.cpu).toBeUndefined();
  expect(checkObject(made).causes).toEqual([]);
  const other = { uuid: () => "other" };
  expect(defaultMachine(made, CLUSTER_DEFAULTS, other)).toEqual(made);
});

test("every field that is said stays as it is said", () => {
  const { spec } = fullSample(virtualMachineInstance.node) as unknown as VirtualMachineInstance;
  expect(defaultInstanceSpec(spec, CLUSTER_DEFAULTS, UUID)).toEqual(spec);
  expect(withoutNulls(virtualMachineInstance.node, { spec })).toEqual({ spec });
});
