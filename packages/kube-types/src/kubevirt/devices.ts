import { disk, filesystem } from "./disks.ts";
import { gpu, hostDevice } from "./host-devices.ts";
import { networkInterface } from "./interfaces.ts";
import { type Infer, boolean, known, list, needed, object, string } from "../schema/schema.ts";

const i6300ESBWatchdog = object({ action: known("poweroff", "reset", "shutdown") });

const diag288Watchdog = object({ action: known("poweroff", "reset", "shutdown") });

const watchdog = object({
  name: needed(string()),
  i6300esb: i6300ESBWatchdog,
  diag288: diag288Watchdog,
});

const input = object({
  bus: known("usb", "virtio"),
  type: needed(known("tablet", "keyboard")),
  name: needed(string()),
});

export const rng = object({});

const downwardMetrics = object({});

const panicDevice = object({ model: known("hyperv", "isa", "pvpanic") });

const clientPassthroughDevices = object({});

const soundDevice = object({ name: needed(string()), model: known("ich9", "ac97") });

export const tpmDevice = object({ enabled: boolean(), persistent: boolean() });

const videoDevice = object({ type: known("virtio", "vga", "bochs", "ramfb", "cirrus") });

export const devices = object({
  useVirtioTransitional: boolean(),
  disableHotplug: boolean(),
  disks: list(disk, { maxItems: 256 }),
  watchdog,
  interfaces: list(networkInterface, { maxItems: 256 }),
  inputs: list(input),
  autoattachPodInterface: boolean(),
  autoattachGraphicsDevice: boolean(),
  autoattachSerialConsole: boolean(),
  logSerialConsole: boolean(),
  autoattachMemBalloon: boolean(),
  autoattachInputDevice: boolean(),
  autoattachVSOCK: boolean(),
  rng,
  blockMultiQueue: boolean(),
  networkInterfaceMultiqueue: boolean(),
  gpus: list(gpu, { merge: "atomic" }),
  downwardMetrics,
  panicDevices: list(panicDevice, { merge: "atomic" }),
  filesystems: list(filesystem, { merge: "atomic" }),
  hostDevices: list(hostDevice, { merge: "atomic" }),
  clientPassthrough: clientPassthroughDevices,
  sound: soundDevice,
  tpm: tpmDevice,
  video: videoDevice,
});
export type Devices = Infer<typeof devices>;
