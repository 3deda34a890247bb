import { expect, test } from "vitest";
import { unmetRequirement } from "./requirements.ts";
import type { PreferenceSpec } from "./specs.ts";
import { FOUR, expanded, machineWith } from "./testing.ts";

const GUEST = { memory: { guest: "1Gi" } };

function preferring(preference: PreferenceSpec, domain: object, spec: object = {}): object {
  const { machine } = expanded({ preference }, machineWith({ ...GUEST, ...domain }, spec));
  return machine?.spec.template ?? {};
}

const POD = { networks: [{ name: "n", pod: {} }] };

/** What is preferred, what the machine says, and what it becomes. */
test.each<[string, PreferenceSpec, object, object, object?]>([
  [
    "switches",
    {
      devices: {
        preferredUseVirtioTransitional: true,
        preferredBlockMultiQueue: true,
        preferredNetworkInterfaceMultiQueue: true,
        preferredDisableHotplug: true,
        preferredRng: {},
        preferredTPM: { persistent: true },
        preferredAutoattachGraphicsDevice: false,
        preferredAutoattachMemBalloon: false,
        preferredAutoattachSerialConsole: false,
      },
    },
    { devices: { blockMultiQueue: false, tpm: {}, autoattachMemBalloon: true } },
    {
      devices: {
        useVirtioTransitional: true,
        blockMultiQueue: false,
        networkInterfaceMultiqueue: true,
        disableHotplug: true,
        rng: {},
        tpm: {},
        autoattachGraphicsDevice: false,
        autoattachMemBalloon: true,
        autoattachSerialConsole: false,
      },
    },
  ],
  [
    "disks by what they are",
    {
      devices: {
        preferredDiskBus: "virtio",
        preferredCdromBus: "scsi",
        preferredLunBus: "scsi",
        preferredDiskCache: "none",
        preferredDiskIO: "native",
        preferredDiskBlockSize: { matchVolume: {} },
        preferredDiskDedicatedIoThread: true,
      },
    },
    {
      devices: {
        disks: [
          { name: "a" },
          { name: "b", disk: { bus: "sata" }, cache: "writeback" },
          { name: "c", cdrom: {} },
          { name: "d", lun: { bus: "" } },
        ],
      },
    },
    {
      devices: {
        disks: [
          {
            name: "a",
            disk: { bus: "virtio" },
            cache: "none",
            io: "native",
            blockSize: { matchVolume: {} },
            dedicatedIOThread: true,
          },
          {
            name: "b",
            disk: { bus: "sata" },
            cache: "writeback",
            io: "native",
            blockSize: { matchVolume: {} },
          },
          { name: "c", cdrom: { bus: "scsi" } },
          { name: "d", lun: { bus: "scsi" } },
        ],
      },
    },
  ],
  [
    "interfaces without a binding on the pod's network",
    { devices: { preferredInterfaceModel: "e1000", preferredInterfaceMasquerade: {} } },
    { devices: { interfaces: [{ name: "n" }, { name: "o" }, { name: "p", bridge: {} }] } },
    {
      devices: {
        interfaces: [
          { name: "n", model: "e1000", masquerade: {} },
          { name: "o", model: "e1000" },
          { name: "p", model: "e1000", bridge: {} },
        ],
      },
    },
    {
      networks: [
        { name: "n", pod: {} },
        { name: "o", multus: { networkName: "x" } },
        { name: "p", pod: {} },
      ],
    },
  ],
  [
    "the network that comes of itself",
    { devices: { preferredInterfaceModel: "e1000" } },
    {},
    { devices: { interfaces: [{ name: "default", bridge: {}, model: "e1000" }] } },
  ],
  [
    "an input that comes of itself",
    {
      devices: {
        preferredAutoattachInputDevice: true,
        preferredInputBus: "virtio",
        preferredInputType: "tablet",
      },
    },
    {},
    { devices: { inputs: [{ name: "default-0", bus: "virtio", type: "tablet" }] } },
  ],
  [
    "sound that is there, a screen that is not",
    { devices: { preferredSoundModel: "ac97", preferredVideoType: "virtio" } },
    { devices: { sound: { name: "s" } } },
    { devices: { sound: { name: "s", model: "ac97" }, video: { type: "virtio" } } },
  ],
  [
    "a device that tells of a panic",
    { devices: { preferredPanicDeviceModel: "pvpanic" } },
    {},
    { devices: { panicDevices: [{ model: "pvpanic" }] } },
  ],
  [
    "those that are there",
    { devices: { preferredPanicDeviceModel: "pvpanic" } },
    { devices: { panicDevices: [{}, { model: "isa" }] } },
    { devices: { panicDevices: [{ model: "pvpanic" }, { model: "isa" }] } },
  ],
  [
    "features of the processor by name",
    { cpu: { preferredCPUFeatures: [{ name: "vmx" }, { name: "avx", policy: "require" }] } },
    { cpu: { features: [{ name: "vmx", policy: "disable" }] } },
    {
      cpu: {
        features: [
          { name: "vmx", policy: "disable" },
          { name: "avx", policy: "require" },
        ],
      },
    },
  ],
  [
    "features",
    {
      features: {
        preferredAcpi: {},
        preferredApic: { endOfInterrupt: true },
        preferredKvm: { hidden: true },
        preferredSmm: {},
        preferredPvspinlock: {},
        preferredHyperv: { vapic: {}, relaxed: {} },
      },
    },
    { features: { acpi: { enabled: false }, hyperv: { relaxed: { enabled: false } } } },
    {
      features: {
        acpi: { enabled: false },
        apic: { endOfInterrupt: true, enabled: true },
        kvm: { hidden: true },
        smm: { enabled: true },
        pvspinlock: { enabled: true },
        hyperv: { vapic: { enabled: true }, relaxed: { enabled: false } },
      },
    },
  ],
  [
    "EFI",
    { firmware: { preferredEfi: { secureBoot: false }, preferredUseSecureBoot: true } },
    {},
    { firmware: { bootloader: { efi: { secureBoot: false } } } },
  ],
  [
    "EFI by switches of old",
    { firmware: { preferredUseEfi: true, preferredUseSecureBoot: true } },
    {},
    { firmware: { bootloader: { efi: { secureBoot: true } } } },
  ],
  [
    "BIOS before EFI",
    {
      firmware: { preferredUseBios: true, preferredUseBiosSerial: true, preferredEfi: {} },
    },
    {},
    { firmware: { bootloader: { bios: { useSerial: true } } } },
  ],
  [
    "a loader that the machine names",
    { firmware: { preferredEfi: { secureBoot: false }, preferredUseBiosSerial: true } },
    { firmware: { bootloader: { bios: {} } } },
    { firmware: { bootloader: { bios: { useSerial: true } } } },
  ],
  [
    "switches of EFI that the machine names",
    { firmware: { preferredUseBios: true, preferredUseSecureBoot: false } },
    { firmware: { bootloader: { efi: { persistent: true } } } },
    { firmware: { bootloader: { efi: { persistent: true, secureBoot: false } } } },
  ],
  [
    "a machine",
    { machine: { preferredMachineType: "pc-q35-10.0" } },
    {},
    { machine: { type: "pc-q35-10.0" } },
  ],
  [
    "a clock",
    { clock: { preferredClockOffset: { utc: {} }, preferredTimer: { rtc: {} } } },
    {},
    { clock: { utc: {}, timer: { rtc: { present: true } } } },
  ],
  [
    "a clock whose zone the machine says",
    { clock: { preferredClockOffset: { utc: {} }, preferredTimer: { rtc: {} } } },
    { clock: { timezone: "Europe/Vienna", timer: {} } },
    { clock: { timezone: "Europe/Vienna", timer: {} } },
  ],
  ["sealing", { preferredLaunchSecurity: {} }, {}, { launchSecurity: {} }],
])("%s", (_, preference, domain, wanted, spec = {}) => {
  const template = preferring(preference, domain, spec);
  expect(template).toMatchObject({ spec: { domain: wanted } });
});

test("what is not there is not made of a preference for it", () => {
  const devices = {
    preferredAutoattachPodInterface: false,
    preferredInterfaceModel: "e1000",
    preferredSoundModel: "ac97",
  };
  expect(preferring({ devices }, {})).toHaveProperty("spec.domain.devices", {
    autoattachPodInterface: false,
  });
});

test("name, grace, architecture and annotations are taken where the machine says nothing", () => {
  const preference = {
    preferredSubdomain: "sub",
    preferredTerminationGracePeriodSeconds: 5,
    preferredArchitecture: "arm64",
    annotations: { a: "b" },
  };
  expect(preferring(preference, {}, POD)).toMatchObject({
    metadata: { annotations: { a: "b" } },
    spec: { subdomain: "sub", terminationGracePeriodSeconds: 5, architecture: "arm64" },
  });
  const said = { subdomain: "own", terminationGracePeriodSeconds: 0, architecture: "amd64" };
  expect(preferring(preference, {}, said)).toMatchObject({ spec: said });
});

const NEEDS = { requirements: { cpu: { guest: 4 }, memory: { guest: "2Gi" } } };
const SPEC = "spec.template.spec";

test.each<[PreferenceSpec, typeof FOUR | undefined, object, string | undefined]>([
  [{}, undefined, {}, undefined],
  [NEEDS, FOUR, {}, undefined],
  [NEEDS, { ...FOUR, cpu: { guest: 2 } }, {}, "spec.instancetype"],
  [NEEDS, { ...FOUR, memory: { guest: "1Gi" } }, {}, "spec.instancetype"],
  [NEEDS, undefined, {}, `${SPEC}.domain.cpu`],
  [NEEDS, undefined, { cpu: { sockets: 2 } }, `${SPEC}.domain.cpu.sockets`],
  [NEEDS, undefined, { cpu: { sockets: 4 } }, `${SPEC}.domain.memory`],
  [NEEDS, undefined, { cpu: { sockets: 4 }, memory: { guest: "2Gi" } }, undefined],
  [
    { ...NEEDS, cpu: { preferredCPUTopology: "cores" } },
    undefined,
    { cpu: { sockets: 4, cores: 2 } },
    `${SPEC}.domain.cpu.cores`,
  ],
  [
    { ...NEEDS, cpu: { preferredCPUTopology: "any" } },
    undefined,
    { cpu: { sockets: 1, cores: 2, threads: 1 } },
    `${SPEC}.domain.cpu.cores, ${SPEC}.domain.cpu.sockets, ${SPEC}.domain.cpu.threads`,
  ],
  [
    { ...NEEDS, cpu: { preferredCPUTopology: "spread" } },
    undefined,
    { cpu: { sockets: 1, cores: 2 } },
    `${SPEC}.domain.cpu.sockets, ${SPEC}.domain.cpu.cores`,
  ],
  [{ requirements: { architecture: "arm64" } }, FOUR, {}, `${SPEC}.architecture`],
])("%j of %j that says %j lacks %s", (preference, type, domain, field) => {
  const spec = { domain: { devices: {}, ...domain }, architecture: "amd64" };
  const cause = unmetRequirement(preference, { type, spec });
  expect(cause?.field).toBe(field);
  if (cause !== undefined) {
    expect(cause.reason).toBe("FieldValueNotFound");
    expect(cause.message).toMatch(/^failure checking preference requirements: /);
  }
});
