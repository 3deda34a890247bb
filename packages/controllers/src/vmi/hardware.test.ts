// Fields of the machine's hardware, and the annotations that tell its node of them (docs/reference/hardware.md).
import { checkMachineAnnotations } from "@trine/annotations";
import { type ByPath } from "@trine/kube-types/testing";
import { expect, test } from "vitest";
import { CLAIMS, SETTINGS, instance } from "../testing.ts";
import { renderPod } from "./render-pod.ts";

const DOMAIN = "spec.domain";
const DEVICES = `${DOMAIN}.devices`;
const HYPERV = `${DOMAIN}.features.hyperv`;

type Told = Readonly<Record<string, string | undefined>>;

/** Disks on the buses named, the first of which boots; `!` has a thread of its own. */
function disksOn(...buses: readonly string[]): ByPath {
  return {
    [`${DEVICES}.disks`]: buses.map((bus, index) => ({
      name: index === 0 ? "root" : `d${index}`,
      disk: { bus: bus.replace("!", "") },
      ...(bus.endsWith("!") ? { dedicatedIOThread: true } : {}),
    })),
    "spec.volumes": buses.map((_, index) =>
      index === 0
        ? { name: "root", containerDisk: { image: "i:1" } }
        : { name: `d${index}`, emptyDisk: { capacity: "1Gi" } },
    ),
  };
}

test.each<[string, ByPath, Told]>([
  [
    "topology and room to grow",
    { [`${DOMAIN}.cpu`]: { sockets: 2, cores: 3, threads: 2, maxSockets: 4 } },
    { "cpu-topology": '{"sockets":2,"cores":3,"threads":2}', "max-cpus": "24" },
  ],
  [
    "model and features of the processor",
    {
      [`${DOMAIN}.cpu`]: {
        model: "Skylake-Server",
        features: [{ name: "vmx", policy: "disable" }, { name: "pcid" }],
      },
    },
    { "cpu-model": "Skylake-Server", "cpu-features": '{"vmx":"disable","pcid":"require"}' },
  ],
  [
    "processors of its own, and the VMM beside them",
    { [`${DOMAIN}.cpu`]: { cores: 2, dedicatedCpuPlacement: true, isolateEmulatorThread: true } },
    { "cpu-pinning": "isolated" },
  ],
  [
    "memory and room to grow",
    { [`${DOMAIN}.memory`]: { guest: "1Gi", maxGuest: "3Gi" } },
    { memory: "1Gi", "max-memory": "3Gi" },
  ],
  [
    "no room to grow beside processors of its own",
    {
      [`${DOMAIN}.cpu`]: { sockets: 1, maxSockets: 4, dedicatedCpuPlacement: true },
      [`${DOMAIN}.memory`]: { guest: "1Gi", maxGuest: "3Gi" },
    },
    { memory: "1Gi", "max-memory": undefined, "max-cpus": undefined },
  ],
  [
    "memory in large pages",
    { [`${DOMAIN}.memory`]: { guest: "1Gi", hugepages: { pageSize: "2Mi" } } },
    { memory: "1Gi", hugepages: "2Mi" },
  ],
  ["the board", { [`${DOMAIN}.machine.type`]: "pc-q35-7.2" }, { "machine-type": "pc-q35-7.2" }],
  [
    "UEFI with secure boot, as where nothing is said of it",
    { [`${DOMAIN}.firmware.bootloader.efi`]: {} },
    { firmware: "uefi", "secure-boot": "on" },
  ],
  [
    "UEFI that keeps its variables",
    { [`${DOMAIN}.firmware.bootloader.efi`]: { secureBoot: false, persistent: true } },
    {
      firmware: "uefi",
      "secure-boot": "off",
      "firmware-persistent": "on",
      state: "/trine.dev/state",
    },
  ],
  [
    "a BIOS that speaks on the console",
    { [`${DOMAIN}.firmware.bootloader.bios`]: { useSerial: true } },
    { "firmware-serial": "on" },
  ],
  [
    "identity",
    { [`${DOMAIN}.firmware`]: { uuid: "5d307ca9-b3ef-428c-8861-06e72d69f223", serial: "S1" } },
    { uuid: "5d307ca9-b3ef-428c-8861-06e72d69f223", smbios: '{"serial":"S1"}' },
  ],
  [
    "chassis",
    { [`${DOMAIN}.chassis`]: { manufacturer: "Example", asset: "A-1" } },
    { chassis: '{"manufacturer":"Example","asset":"A-1"}' },
  ],
  [
    "clock and timers",
    {
      [`${DOMAIN}.clock`]: {
        utc: { offsetSeconds: 60 },
        timer: {
          hpet: { present: false },
          rtc: { tickPolicy: "catchup" },
          hyperv: { present: true },
        },
      },
    },
    { clock: '{"offset":60,"rtc":"catchup","hpet":"off","hypervclock":"on"}' },
  ],
  [
    "enlightenments of Hyper-V",
    {
      [HYPERV]: {
        relaxed: {},
        vapic: { enabled: false },
        spinlocks: {},
        vendorid: { vendorid: "me" },
      },
    },
    { hyperv: '{"relaxed":"on","vapic":"off","spinlocks":4096,"vendorid":"me"}' },
  ],
  ["a TPM", { [`${DEVICES}.tpm`]: {} }, { tpm: "on", state: undefined }],
  [
    "a TPM that keeps its secrets",
    { [`${DEVICES}.tpm`]: { persistent: true } },
    { tpm: "persistent", state: "/trine.dev/state" },
  ],
  ["no TPM", { [`${DEVICES}.tpm`]: { enabled: false } }, { tpm: undefined }],
  ["a display, as where nothing is said of it", {}, { display: "on", console: undefined }],
  [
    "no display and no console",
    {
      [`${DEVICES}.autoattachGraphicsDevice`]: false,
      [`${DEVICES}.autoattachSerialConsole`]: false,
    },
    { display: undefined, console: "none" },
  ],
  ["an adapter", { [`${DEVICES}.video`]: { type: "virtio" } }, { display: "on", video: "virtio" }],
  [
    "a tablet",
    { [`${DEVICES}.inputs`]: [{ name: "t", type: "tablet", bus: "virtio" }] },
    { tablet: "virtio" },
  ],
  [
    "a watchdog",
    { [`${DEVICES}.watchdog`]: { name: "w", i6300esb: { action: "poweroff" } } },
    { watchdog: "poweroff" },
  ],
  [
    "a timer that is not there, and a clock that stands while the guest does",
    {
      [`${DOMAIN}.clock.timer`]: {
        pit: { present: false, tickPolicy: "delay" },
        rtc: { track: "guest" },
      },
    },
    { clock: '{"track":"guest","pitPresent":"off"}' },
  ],
  [
    "a board and a KVM of less",
    {
      [`${DOMAIN}.features`]: {
        ...{ acpi: { enabled: false }, smm: { enabled: false }, kvm: { hidden: true } },
        ...{ apic: { endOfInterrupt: false }, pvspinlock: { enabled: false } },
      },
    },
    {
      platform:
        '{"acpi":"off","smm":"off","hidden":"on","endOfInterrupt":"off","pvspinlock":"off"}',
    },
  ],
  [
    "a board as where nothing is said of it",
    { [`${DOMAIN}.features`]: { acpi: {}, smm: { enabled: true }, apic: {} } },
    { platform: undefined },
  ],
  [
    "virtio of before 1.0",
    { [`${DEVICES}.useVirtioTransitional`]: true },
    { "virtio-transitional": "on" },
  ],
  [
    "a keyboard and a tablet",
    {
      [`${DEVICES}.inputs`]: [
        { name: "k", type: "keyboard", bus: "usb" },
        { name: "t", type: "tablet", bus: "usb" },
      ],
    },
    { keyboard: "usb", tablet: "usb" },
  ],
  [
    "no threads for disks",
    disksOn("virtio", "scsi"),
    { "io-threads": undefined, "disk-multiqueue": undefined },
  ],
  [
    "one thread for all disks",
    { ...disksOn("virtio", "virtio", "scsi"), [`${DOMAIN}.ioThreadsPolicy`]: "shared" },
    { "io-threads": "1" },
  ],
  ["one for the rest", disksOn("virtio", "virtio!"), { "io-threads": "1" }],
  [
    "none for disks on SATA",
    { ...disksOn("sata"), [`${DOMAIN}.ioThreadsPolicy`]: "auto" },
    { "io-threads": undefined },
  ],
  [
    "two threads a processor for disks, less those that one has for itself",
    {
      ...disksOn("virtio", "virtio!", "virtio", "virtio", "virtio"),
      ...{ [`${DOMAIN}.ioThreadsPolicy`]: "auto", [`${DOMAIN}.cpu`]: { cores: 2 } },
    },
    { "io-threads": "3" },
  ],
  [
    "as many threads as there are disks, where a pool of more is asked for",
    {
      ...disksOn("virtio", "scsi"),
      [`${DOMAIN}.ioThreadsPolicy`]: "supplementalPool",
      [`${DOMAIN}.ioThreads`]: { supplementalPoolThreadCount: 4294967295 },
    },
    { "io-threads": "2" },
  ],
  [
    "a queue for each processor",
    { [`${DEVICES}.blockMultiQueue`]: true },
    { "disk-multiqueue": "on" },
  ],
  ["an end by reboot", { [`${DOMAIN}.rebootPolicy`]: "Terminate" }, { "on-reboot": "end" }],
  ["no balloon", { [`${DEVICES}.autoattachMemBalloon`]: false }, { balloon: "off" }],
  ["a sound card", { [`${DEVICES}.sound`]: { name: "s", model: "ac97" } }, { sound: "ac97" }],
  ["a panic device", { [`${DEVICES}.panicDevices`]: [{ model: "isa" }] }, { panic: "isa" }],
  ["slots of USB", { [`${DEVICES}.clientPassthrough`]: {} }, { "usb-redirections": "4" }],
  ["vsock", { [`${DEVICES}.autoattachVSOCK`]: true }, { vsock: "on" }],
  [
    "queues of network cards",
    { [`${DEVICES}.networkInterfaceMultiqueue`]: true },
    { "network-multiqueue": "on" },
  ],
])("hardware: %s", (_, fields, told) => {
  const rendering = renderPod(instance(fields), CLAIMS, SETTINGS);
  if ("refusals" in rendering) throw new Error(JSON.stringify(rendering.refusals));
  const annotations = rendering.pod.metadata?.annotations ?? {};
  const said = Object.keys(told).map((name) => [name, annotations[`trine.dev/${name}`]]);
  expect(Object.fromEntries(said)).toEqual(told);
  // Whatever is told is understood by the node.
  expect(checkMachineAnnotations(annotations).problems).toEqual([]);
});
