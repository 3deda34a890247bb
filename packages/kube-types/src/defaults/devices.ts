import type { Devices } from "../kubevirt/devices.ts";
import type { Disk } from "../kubevirt/disks.ts";
import type { Volume } from "../kubevirt/volumes.ts";

/** What a disk without a bus gets. */
const BUS = "sata";

type Empty = Readonly<Record<string, unknown>>;

/** `field` where `of` says nothing, or empty text. */
function orElse<T extends object>(of: T, fields: Partial<T>): T {
  const said = Object.entries(of as Empty).filter(
    ([, value]) => value !== undefined && value !== "",
  );
  return { ...of, ...fields, ...(Object.fromEntries(said) as Partial<T>) };
}

/** Disks as they are said, and one for each volume that has neither disk nor share. */
export function defaultDisks(devices: Devices, volumes: readonly Volume[]): readonly Disk[] {
  return allDisks(devices, volumes).map(defaultDisk);
}

/** The same disks, with no more than a name where nothing is said of them. */
export function allDisks(devices: Devices, volumes: readonly Volume[]): readonly Disk[] {
  const { disks = [], filesystems = [] } = devices;
  const named = new Set([...disks, ...filesystems].map(({ name }) => name));
  const missing = volumes
    .filter((volume) => !named.has(volume.name) && isDisk(volume))
    .map(({ name }) => ({ name }));
  return [...disks, ...missing];
}

/** Dumps and metrics are no disks of the guest's. */
function isDisk({ memoryDump, downwardMetrics, containerPath }: Volume): boolean {
  return [memoryDump, downwardMetrics, containerPath].every((source) => source === undefined);
}

function defaultDisk(disk: Disk): Disk {
  const { lun, cdrom } = disk;
  if (cdrom !== undefined) {
    return { ...disk, cdrom: orElse(cdrom, { bus: BUS, readonly: true, tray: "closed" }) };
  }
  if (lun !== undefined) return { ...disk, lun: orElse(lun, { bus: BUS }) };
  return { ...disk, disk: orElse(disk.disk ?? {}, { bus: BUS }) };
}

/** Inputs and the watchdog. */
export function defaultOthers({ inputs, watchdog }: Devices): Partial<Devices> {
  return {
    ...(inputs !== undefined && {
      inputs: inputs.map((input) => orElse(input, { bus: "usb", type: "tablet" })),
    }),
    ...(watchdog !== undefined && { watchdog: defaultWatchdog(watchdog) }),
  };
}

type Watchdog = NonNullable<Devices["watchdog"]>;

function defaultWatchdog(watchdog: Watchdog): Watchdog {
  const { i6300esb, diag288 } = watchdog;
  const action = "reset";
  if (diag288 !== undefined) return { ...watchdog, diag288: orElse(diag288, { action }) };
  return { ...watchdog, i6300esb: orElse(i6300esb ?? {}, { action }) };
}
