import type {
  Devices,
  Disk,
  Interface,
  Network,
  VirtualMachineInstanceSpec,
} from "@trine/kube-types";
import { prefer } from "./prefer.ts";
import type { PreferenceSpec } from "./specs.ts";

type Preferred = NonNullable<PreferenceSpec["devices"]>;

/** What is there without being named. Decided before disks, inputs and networks are filled in. */
export function preferAttached(devices: Devices, preferred: Preferred): Devices {
  const attached = prefer(devices, {
    autoattachGraphicsDevice: preferred.preferredAutoattachGraphicsDevice,
    autoattachMemBalloon: preferred.preferredAutoattachMemBalloon,
    autoattachPodInterface: preferred.preferredAutoattachPodInterface,
    autoattachSerialConsole: preferred.preferredAutoattachSerialConsole,
    autoattachInputDevice: preferred.preferredAutoattachInputDevice,
  });
  return attached;
}

/** Devices with what is preferred of each. */
export function preferDevices(
  { domain, networks = [] }: VirtualMachineInstanceSpec,
  preferred: Preferred,
): Devices {
  const devices = prefer(domain.devices, {
    useVirtioTransitional: preferred.preferredUseVirtioTransitional,
    blockMultiQueue: preferred.preferredBlockMultiQueue,
    networkInterfaceMultiqueue: preferred.preferredNetworkInterfaceMultiQueue,
    disableHotplug: preferred.preferredDisableHotplug,
    rng: preferred.preferredRng,
    tpm: preferred.preferredTPM,
  });
  const { disks, interfaces, inputs, sound } = devices;
  const { preferredVideoType: type, preferredSoundModel: model } = preferred;
  const input = { bus: preferred.preferredInputBus, type: preferred.preferredInputType };
  return {
    ...devices,
    ...(type !== undefined && { video: prefer(devices.video ?? {}, { type }) }),
    ...(sound !== undefined && { sound: prefer(sound, { model }) }),
    ...(disks !== undefined && { disks: disks.map((disk) => preferDisk(disk, preferred)) }),
    ...(inputs !== undefined && { inputs: inputs.map((each) => prefer(each, input)) }),
    ...(interfaces !== undefined && {
      interfaces: interfaces.map((each) => preferInterface(each, networks, preferred)),
    }),
    ...preferPanic(devices, preferred),
  };
}

function preferDisk(disk: Disk, preferred: Preferred): Disk {
  const { lun, cdrom } = disk;
  if (cdrom !== undefined && disk.disk === undefined) {
    return { ...disk, cdrom: prefer(cdrom, { bus: preferred.preferredCdromBus }) };
  }
  if (lun !== undefined && disk.disk === undefined) {
    return { ...disk, lun: prefer(lun, { bus: preferred.preferredLunBus }) };
  }
  const target = prefer(disk.disk ?? {}, { bus: preferred.preferredDiskBus });
  // Only virtio disks can have a thread of their own.
  const threads = target.bus === "virtio" ? preferred.preferredDiskDedicatedIoThread : undefined;
  const set = prefer(disk, {
    blockSize: preferred.preferredDiskBlockSize,
    cache: preferred.preferredDiskCache,
    io: preferred.preferredDiskIO,
    dedicatedIOThread: threads,
  });
  return { ...set, disk: target };
}

const BINDINGS = [
  "bridge",
  "slirp",
  "masquerade",
  "sriov",
  "macvtap",
  "passt",
  "passtBinding",
  "binding",
] as const;

function preferInterface(
  nic: Interface,
  networks: readonly Network[],
  preferred: Preferred,
): Interface {
  const model = prefer(nic, { model: preferred.preferredInterfaceModel });
  const bound = BINDINGS.some((name) => nic[name] !== undefined);
  const network = networks.find(({ name }) => name === nic.name);
  if (bound || network?.pod === undefined) return model;
  return prefer(model, { masquerade: preferred.preferredInterfaceMasquerade });
}

function preferPanic(devices: Devices, preferred: Preferred): Partial<Devices> {
  const model = preferred.preferredPanicDeviceModel;
  if (model === undefined) return {};
  const { panicDevices = [] } = devices;
  const said = panicDevices.length === 0 ? [{}] : panicDevices;
  return { panicDevices: said.map((device) => prefer(device, { model })) };
}
