import type { VirtualMachineInstanceSpec } from "@trine/kube-types";
import { boardOf } from "./board.ts";
import { seededKeys } from "./cloud-init.ts";
import { CARDS } from "./networks.ts";

/** Where a value stands: the spec that it is in, and the indices of the lists on the way to it. */
export interface Standing {
  readonly spec: VirtualMachineInstanceSpec;
  readonly indices: readonly number[];
}

/** A field that is accepted and that no machine follows. */
export interface InertField {
  /** Below `spec`; `[]` is every item of a list. A field that has fields stands for all of them. */
  readonly path: string;
  /** What is so instead. */
  readonly why: string;
  /** Which of its values are not followed; left out: whatever it says. */
  readonly when?: (value: unknown, standing: Standing) => boolean;
}

const SERIAL = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,19}$/;
const hasSeed = ({ volumes = [] }: VirtualMachineInstanceSpec): boolean =>
  volumes.some(
    ({ cloudInitNoCloud, cloudInitConfigDrive }) =>
      cloudInitNoCloud !== undefined || cloudInitConfigDrive !== undefined,
  );
const isFalse = (value: unknown): boolean => value === false;
const isTrue = (value: unknown): boolean => value === true;
const is =
  (...values: readonly unknown[]) =>
  (value: unknown): boolean =>
    values.includes(value);
const isNot =
  (...values: readonly unknown[]) =>
  (value: unknown): boolean =>
    value !== "" && !values.includes(value);

function isSecond(type: unknown, { spec, indices: [index = 0] }: Standing): boolean {
  const { inputs = [] } = spec.domain.devices;
  return inputs.slice(0, index).some((input) => input.type === type);
}

function hasPodsMac({ spec, indices: [index = 0] }: Standing): boolean {
  const found = spec.domain.devices.interfaces?.[index];
  const network = spec.networks?.find(({ name }) => name === found?.name);
  const isPodNetwork = network?.multus === undefined || network.multus.default === true;
  return isPodNetwork && (found?.macvtap !== undefined || found?.binding?.name === "macvtap");
}

function isDirect(_: unknown, { spec, indices: [index = 0] }: Standing): boolean {
  return spec.domain.devices.disks?.[index]?.cache !== "none";
}

/** The only place that says so: the webhook's warnings, the condition and the reference are made of it. */
export const INERT_FIELDS: readonly InertField[] = [
  {
    path: "domain.resources.overcommitGuestOverhead",
    why: "the RuntimeClass's overhead is always asked for",
    when: isTrue,
  },
  { path: "domain.cpu.numa", why: "the guest has one NUMA node" },
  { path: "domain.cpu.realtime", why: "virtual processors run as other threads do" },
  {
    path: "domain.memory.reservedOverhead.memLock",
    why: "memory is locked where a device needs it",
  },
  {
    path: "domain.machine.type",
    why: "only a distribution's own QEMU has that board: it is the node's newest q35",
    when: (value: unknown): boolean => {
      const board = boardOf(String(value));
      return "isAnother" in board && board.isAnother;
    },
  },
  { path: "domain.firmware.acpi", why: "the guest has the VMM's own ACPI tables" },
  {
    path: "domain.clock.timer.hpet.tickPolicy",
    why: "ticks that were missed are given late: QEMU has no other way",
    when: isNot("delay"),
  },
  {
    path: "domain.clock.timer.pit.tickPolicy",
    why: "delay and discard are there",
    when: isNot("delay", "discard"),
  },
  { path: "domain.clock.timer.rtc.present", why: "the clock is there", when: isFalse },
  { path: "domain.features.apic.enabled", why: "the APIC is there", when: isFalse },
  { path: "domain.devices.disableHotplug", why: "the board keeps its ports", when: isTrue },
  {
    path: "domain.devices.logSerialConsole",
    why: "the console is the pod's log: kubectl logs has it",
    when: isFalse,
  },
  {
    path: "domain.devices.downwardMetrics",
    why: "the guest has no device to read the node's figures",
  },
  { path: "domain.devices.watchdog.diag288", why: "it is a mainframe's: take i6300esb" },
  {
    path: "domain.devices.inputs[].type",
    why: "one of each type is added: the first",
    when: isSecond,
  },
  { path: "domain.devices.gpus[].virtualGPUOptions", why: "the display is the machine's own" },
  { path: "domain.devices.gpus[].tag", why: "the guest is told no tags of devices" },
  { path: "domain.devices.hostDevices[].tag", why: "the guest is told no tags of devices" },
  { path: "domain.devices.disks[].disk.pciAddress", why: "disks have slots in their order" },
  {
    path: "domain.devices.disks[].disk.bus",
    why: "it is on sata, or scsi where it is read-only",
    when: is("usb"),
  },
  {
    path: "domain.devices.disks[].lun.bus",
    why: "it is on sata, or scsi where it is read-only",
    when: is("usb"),
  },
  {
    path: "domain.devices.disks[].lun.reservation",
    why: "reservations stay in the VMM",
    when: isTrue,
  },
  {
    path: "domain.devices.disks[].cdrom.bus",
    why: "a drive is on sata or scsi",
    when: is("usb", "virtio"),
  },
  {
    path: "domain.devices.disks[].cdrom.readonly",
    why: "a drive's medium is never written",
    when: isFalse,
  },
  { path: "domain.devices.disks[].cdrom.tray", why: "the tray is closed", when: is("open") },
  {
    path: "domain.devices.disks[].serial",
    why: "a serial number has 1 to 20 of letters, digits, _ . -",
    when: (value) => value !== "" && !SERIAL.test(String(value)),
  },
  {
    path: "domain.ioThreads",
    why: "the pool is that of ioThreadsPolicy supplementalPool",
    when: (_, { spec }) => spec.domain.ioThreadsPolicy !== "supplementalPool",
  },
  {
    path: "domain.devices.disks[].io",
    why: "native needs cache: none",
    when: (value, standing) => value === "native" && isDirect(value, standing),
  },
  { path: "domain.devices.disks[].tag", why: "the guest is told no tags of devices" },
  {
    path: "domain.devices.disks[].blockSize",
    why: "a disk shows the sectors of what is behind it",
  },
  {
    path: "domain.devices.disks[].changedBlockTracking",
    why: "no changes are tracked",
    when: isTrue,
  },
  {
    path: "domain.devices.interfaces[].model",
    why: "the card is virtio's",
    when: isNot("virtio", ...CARDS),
  },
  {
    path: "domain.devices.interfaces[].macAddress",
    why: "a macvtap on the pod's network has the MAC that the network plugin gives",
    when: (value, standing) => value !== "" && hasPodsMac(standing),
  },
  { path: "domain.devices.interfaces[].bootOrder", why: "machines boot from disks" },
  { path: "domain.devices.interfaces[].pciAddress", why: "cards have slots in their order" },
  { path: "domain.devices.interfaces[].dhcpOptions", why: "DHCP tells what the pod has" },
  { path: "domain.devices.interfaces[].tag", why: "the guest is told no tags of devices" },
  { path: "domain.devices.interfaces[].acpiIndex", why: "the guest names cards by their slots" },
  { path: "domain.devices.video.type", why: "the adapter is vga", when: is("cirrus") },
  {
    path: "domain.devices.panicDevices[].model",
    why: "the first is there",
    when: (_, { indices: [index = 0] }) => index > 0,
  },
  {
    path: "evictionStrategy",
    why: "machines do not migrate yet: LiveMigrate denies an eviction, LiveMigrateIfPossible lets it end them",
    when: is("LiveMigrate", "LiveMigrateIfPossible"),
  },
  { path: "networks[].resourceClaim", why: "networks are the pod's interfaces" },
  {
    path: "accessCredentials[].sshPublicKey",
    why: "public keys of noCloud and configDrive come with a seed, and there is none",
    when: (value, { spec }) =>
      seededKeys(value as Parameters<typeof seededKeys>[0]) !== undefined && !hasSeed(spec),
  },
  { path: "utilityVolumes", why: "nothing is plugged in for them" },
  { path: "volumes[].downwardMetrics", why: "no figures of the node are shown" },
  { path: "volumes[].memoryDump", why: "memory is not dumped yet" },
  { path: "volumes[].containerPath", why: "the machine's container has no files of its own" },
  {
    path: "volumes[].persistentVolumeClaim.hotpluggable",
    why: "disks are there from the start",
    when: isTrue,
  },
  {
    path: "volumes[].dataVolume.hotpluggable",
    why: "disks are there from the start",
    when: isTrue,
  },
];
