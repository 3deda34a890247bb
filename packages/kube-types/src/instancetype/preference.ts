import { clockOffsetUTC, timer } from "../kubevirt/clock.ts";
import { rng, tpmDevice } from "../kubevirt/devices.ts";
import { blockSize } from "../kubevirt/disks.ts";
import { featureAPIC, featureHyperv, featureKVM, featureState } from "../kubevirt/features.ts";
import { efi, launchSecurity } from "../kubevirt/firmware.ts";
import { vgpuOptions } from "../kubevirt/host-devices.ts";
import { interfaceMasquerade } from "../kubevirt/interfaces.ts";
import { cpuFeature } from "../kubevirt/processor.ts";
import { whole } from "../schema/kind.ts";
import {
  type Infer,
  boolean,
  int64,
  known,
  list,
  map,
  needed,
  object,
  quantity,
  string,
} from "../schema/schema.ts";

const clockOffset = object({ utc: clockOffsetUTC, timezone: string() });

const clockPreferences = object({ preferredClockOffset: clockOffset, preferredTimer: timer });

const spreadOptions = object({
  across: known("SocketsCoresThreads", "SocketsCores", "CoresThreads"),
  ratio: int64({ minimum: 0, maximum: 4294967295 }),
});

const cpuPreferences = object({
  preferredCPUTopology: known(
    "preferCores",
    "preferSockets",
    "preferThreads",
    "preferSpread",
    "preferAny",
    "cores",
    "sockets",
    "threads",
    "spread",
    "any",
  ),
  spreadOptions,
  preferredCPUFeatures: list(cpuFeature),
});

const devicePreferences = object({
  preferredAutoattachGraphicsDevice: boolean(),
  preferredAutoattachMemBalloon: boolean(),
  preferredAutoattachPodInterface: boolean(),
  preferredAutoattachSerialConsole: boolean(),
  preferredAutoattachInputDevice: boolean(),
  preferredDisableHotplug: boolean(),
  preferredVirtualGPUOptions: vgpuOptions,
  preferredSoundModel: string(),
  preferredUseVirtioTransitional: boolean(),
  preferredInputBus: known("usb", "virtio"),
  preferredInputType: known("tablet", "keyboard"),
  preferredDiskBus: known("virtio", "sata", "scsi", "usb"),
  preferredLunBus: known("virtio", "sata", "scsi", "usb"),
  preferredCdromBus: known("virtio", "sata", "scsi", "usb"),
  preferredDiskDedicatedIoThread: boolean(),
  preferredDiskCache: known("none", "writethrough", "writeback"),
  preferredDiskIO: known("threads", "native"),
  preferredDiskBlockSize: blockSize,
  preferredInterfaceModel: string(),
  preferredRng: rng,
  preferredBlockMultiQueue: boolean(),
  preferredNetworkInterfaceMultiQueue: boolean(),
  preferredTPM: tpmDevice,
  preferredInterfaceMasquerade: interfaceMasquerade,
  preferredPanicDeviceModel: known("hyperv", "isa", "pvpanic"),
  preferredVideoType: string(),
});

const featurePreferences = object({
  preferredAcpi: featureState,
  preferredApic: featureAPIC,
  preferredHyperv: featureHyperv,
  preferredKvm: featureKVM,
  preferredPvspinlock: featureState,
  preferredSmm: featureState,
});

const firmwarePreferences = object({
  preferredUseBios: boolean(),
  preferredUseBiosSerial: boolean(),
  preferredUseEfi: boolean(),
  preferredUseSecureBoot: boolean(),
  preferredEfi: efi,
});

const machinePreferences = object({ preferredMachineType: string() });

const volumePreferences = object({ preferredStorageClassName: string() });

const cpuPreferenceRequirement = object({
  guest: needed(int64({ minimum: 0, maximum: 4294967295 })),
});

const memoryPreferenceRequirement = object({ guest: needed(quantity()) });

const preferenceRequirements = object({
  cpu: cpuPreferenceRequirement,
  memory: memoryPreferenceRequirement,
  architecture: string(),
});

const virtualMachinePreferenceSpec = object({
  clock: clockPreferences,
  cpu: cpuPreferences,
  devices: devicePreferences,
  features: featurePreferences,
  firmware: firmwarePreferences,
  machine: machinePreferences,
  volumes: volumePreferences,
  preferredSubdomain: string(),
  preferredTerminationGracePeriodSeconds: int64(),
  requirements: preferenceRequirements,
  annotations: map(string()),
  preferSpreadSocketToCoreRatio: int64({ minimum: 0, maximum: 4294967295 }),
  preferredArchitecture: string(),
  preferredLaunchSecurity: launchSecurity,
});

export const virtualMachinePreference = whole({ spec: needed(virtualMachinePreferenceSpec) });
export type VirtualMachinePreference = Infer<typeof virtualMachinePreference>;

export const virtualMachineClusterPreference = whole({
  spec: needed(virtualMachinePreferenceSpec),
});
export type VirtualMachineClusterPreference = Infer<typeof virtualMachineClusterPreference>;
