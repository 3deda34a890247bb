import { hypervFeatures, hypervNeeds } from "@trine/annotations";
import type { MachineSettings } from "@trine/annotations";
import type { HardwareSpec, MachineSpec } from "@trine/vmm";
import { MEMORY_STEP } from "@trine/vmm";
import { TrineError } from "@trine/base";

const PAGE_BYTES = { "2Mi": 2 * 1024 ** 2, "1Gi": 1024 ** 3 } as const;
const MIB = 1024 * 1024;

/** How many CPUs a machine begins with. */
export function cpusOf({ cpus, topology }: MachineSettings): number {
  const { sockets = 1, cores = 1, threads = 1 } = topology ?? {};
  return cpus ?? sockets * cores * threads;
}

/** What the machine may grow to beyond the memory it begins with. Kind `invalid` for less than that. */
export function growthOf(
  settings: MachineSettings,
  memoryBytes: number,
): Pick<MachineSpec, "maxCpus" | "memoryMaxBytes"> {
  const { maxCpus, maxMemoryBytes } = settings;
  const steps = Math.floor(((maxMemoryBytes ?? memoryBytes) - memoryBytes) / MEMORY_STEP);
  if (steps < 0) {
    const why = `the guest begins with ${memoryBytes / MIB} MiB: it only grows`;
    throw new TrineError("invalid", `trine.dev/max-memory: ${why}`);
  }
  return {
    ...(maxCpus === undefined || maxCpus === cpusOf(settings) ? {} : { maxCpus }),
    ...(steps === 0 ? {} : { memoryMaxBytes: memoryBytes + steps * MEMORY_STEP }),
  };
}

/** What annotations alone say of the hardware. Kind `invalid` where it does not fit the memory. */
export function hardwareOf(settings: MachineSettings, memoryBytes: number): HardwareSpec {
  const { machineType: board, cpuFeatures, sound, panic, tablet, video } = settings;
  const { watchdog, secureBoot, firmwareSerial, usb, usbRedirections, balloon } = settings;
  const { onReboot, platform, virtioTransitional, keyboard, ioThreads, diskMultiqueue } = settings;
  return {
    ...defined({ board, topology: topologyOf(settings), cpuFeatures, tablet, video, platform }),
    ...defined({ smbios: smbiosOf(settings), clock: clockOf(settings) }),
    ...defined({ hyperv: hypervOf(settings), hugePages: hugePagesOf(settings, memoryBytes) }),
    ...(watchdog === "off" ? {} : { watchdog }),
    ...(sound === "off" ? {} : { sound }),
    ...(panic === "isa" ? {} : { panic }),
    ...(secureBoot ? { secureBoot } : {}),
    ...(firmwareSerial ? { firmwareSerial } : {}),
    ...(usb ? { usb } : {}),
    ...(usbRedirections === 0 ? {} : { usbRedirections }),
    ...(balloon ? {} : { balloon }),
    ...(onReboot === "end" ? { endsOnReboot: true } : {}),
    ...defined({ ioThreads }),
    ...(diskMultiqueue ? { diskQueues: true } : {}),
    ...(virtioTransitional ? { transitional: true } : {}),
    ...(keyboard === "off" ? {} : { keyboard }),
  };
}

/** In all that the machine may grow to: CPUs are added by whole sockets. */
function topologyOf(settings: MachineSettings): HardwareSpec["topology"] {
  const { topology, maxCpus } = settings;
  if (topology === undefined) return undefined;
  const { cores = 1, threads = 1 } = topology;
  return { sockets: (maxCpus ?? cpusOf(settings)) / (cores * threads), cores, threads };
}

function smbiosOf({ smbios, chassis }: MachineSettings): HardwareSpec["smbios"] {
  if (smbios === undefined && chassis === undefined) return undefined;
  return { ...defined({ system: smbios, chassis }) };
}

function clockOf({ clock, hyperv }: MachineSettings): HardwareSpec["clock"] {
  const isNeeded = hypervNeeds(hypervFeatures(hyperv ?? {})).includes("hypervclock");
  if (clock === undefined) return isNeeded ? { hypervClock: true } : undefined;
  const { timezone, offset: aheadSeconds, kvmclock: kvmClock, ...timers } = clock;
  const { rtc, track, pit, pitPresent, hpet } = timers;
  const hypervClock = clock.hypervclock ?? (isNeeded ? true : undefined);
  return defined({
    ...{ timezone, aheadSeconds, rtc, track, pit, pitPresent, hpet, kvmClock, hypervClock },
  });
}

function hypervOf({ hyperv }: MachineSettings): HardwareSpec["hyperv"] {
  if (hyperv === undefined) return undefined;
  const { spinlocks, vendorid: vendorId } = hyperv;
  return { features: hypervFeatures(hyperv), ...defined({ spinlocks, vendorId }) };
}

function hugePagesOf({ hugepages }: MachineSettings, memoryBytes: number): number | undefined {
  if (hugepages === undefined) return undefined;
  const page = PAGE_BYTES[hugepages];
  if (memoryBytes % page === 0) return page;
  const why = `the guest's ${memoryBytes / MIB} MiB are no whole pages of ${hugepages}`;
  throw new TrineError("invalid", `trine.dev/hugepages: ${why}`);
}

type Defined<T> = { readonly [K in keyof T]?: NonNullable<T[K]> };

function defined<T extends object>(values: T): Defined<T> {
  const set = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(set) as Defined<T>;
}
