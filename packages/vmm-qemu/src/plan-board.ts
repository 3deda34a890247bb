import { takesCpus } from "@trine/vmm";
import type { ClockSpec, HardwareSpec, MachineSpec } from "@trine/vmm";
import type { DescriptorTable } from "./descriptor-table.ts";
import { option } from "./option.ts";
import { RNG_SLOT, slot } from "./pci-slots.ts";
import { cpuArgument, smpArgument } from "./plan-cpu.ts";
import { hasFunctions } from "./plan-devices.ts";
import { generation } from "./generation.ts";
import { memoryArguments, memoryDevices, memoryMachineOption } from "./plan-memory.ts";

const SMALL_GUEST_BYTES = 256 * 1024 * 1024;
const SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/** SMBIOS' own numbers of its tables. */
const SYSTEM_TABLE = 1;
const CHASSIS_TABLE = 3;

/**
 * Everything but channels, disks and NICs. Parts of the board no machine of ours uses (SATA, SMBus, the
 * VMware port) are left out: less for a guest to attack and 10 ms less to start. Sleep states are off:
 * a guest that suspends would look hung.
 */
export function boardArguments(spec: MachineSpec, table: DescriptorTable): string[] {
  const { hardware = {} } = spec;
  return [
    ...["-uuid", spec.uuid],
    ...["-nodefaults", "-no-user-config", "-display", "none"],
    ...["-msg", "timestamp=on"],
    ...["-sandbox", SANDBOX],
    ...["-machine", machineOption(spec)],
    ...["-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1"],
    ...["-accel", acceleratorOption(spec), "-cpu", cpuArgument(spec)],
    ...["-smp", smpArgument(spec)],
    ...memoryArguments(spec, table),
    ...["-rtc", clockOption(hardware.clock, new Date()), "-boot", "menu=off,strict=on"],
    ...pitArguments(spec),
    ...(hardware.endsOnReboot === true ? ["-action", "reboot=shutdown"] : []),
    ...smbiosArguments(hardware),
    ...["-object", "rng-builtin,id=rng0"],
    "-device",
    option("virtio-rng-pci", {
      rng: "rng0",
      addr: slot(RNG_SLOT),
      ...(hasFunctions(spec) ? { multifunction: true } : {}),
      ...generation(spec),
    }),
    ...memoryDevices(spec),
  ];
}

function machineOption(spec: MachineSpec): string {
  const { board = "q35", secureBoot, firmwareSerial, clock, platform } = spec.hardware ?? {};
  const smm = secureBoot === true ? true : platform?.smm;
  return option(board, {
    sata: false,
    smbus: false,
    vmport: false,
    usb: false,
    "dump-guest-core": false,
    ...(smm === undefined ? {} : { smm }),
    ...(platform?.acpi === undefined ? {} : { acpi: platform.acpi }),
    ...(clock?.pitPresent === undefined ? {} : { pit: clock.pitPresent }),
    // What a board without graphics prints comes on its serial port.
    ...(firmwareSerial === true ? { graphics: false } : {}),
    ...(clock?.hpet === undefined ? {} : { hpet: clock.hpet }),
    ...memoryMachineOption(spec),
  });
}

/**
 * The translation cache fills up to its limit and is never given back; QEMU's own limit is 1 GiB. 64 MiB
 * cost a whole Debian 5 % more CPU to boot than no limit (32 MiB: 40 %), a small Linux needs 60 at all.
 * QEMU itself adds 21 MiB, so that both together stay under the overhead a pod is charged for.
 */
function acceleratorOption(spec: MachineSpec): string {
  if (spec.accelerator === "kvm") return "kvm";
  return option("tcg", {
    "tb-size": spec.memoryBytes < SMALL_GUEST_BYTES ? 32 : 64,
    ...(takesCpus(spec) && spec.maxCpus !== undefined ? { thread: "single" } : {}),
  });
}

/** QEMU's names. */
const CLOCKS = { guest: "vm", wall: "host" } as const;

/** Value of -rtc. A base in QEMU's words is UTC, or a date and time that it counts on from. */
export function clockOption(clock: ClockSpec | undefined, now: Date): string {
  const { timezone, aheadSeconds, rtc, track } = clock ?? {};
  const catchesUp = rtc !== "delay";
  const base =
    timezone === undefined && aheadSeconds === undefined
      ? "utc"
      : localTime(new Date(now.getTime() + (aheadSeconds ?? 0) * 1000), timezone ?? "UTC");
  return option(`base=${base}`, {
    ...(track === undefined ? {} : { clock: CLOCKS[track] }),
    driftfix: catchesUp ? "slew" : "none",
  });
}

/** YYYY-MM-DDThh:mm:ss; Swedish writes it so. */
function localTime(at: Date, timeZone: string): string {
  return at.toLocaleString("sv-SE", { timeZone, hourCycle: "h23" }).replace(" ", "T");
}

function pitArguments({ accelerator, hardware }: MachineSpec): string[] {
  const policy = hardware?.clock?.pit;
  // Only KVM has a choice.
  if (policy === undefined || accelerator !== "kvm") return [];
  return ["-global", `kvm-pit.lost_tick_policy=${policy}`];
}

function smbiosArguments({ smbios = {} }: HardwareSpec): string[] {
  const { system, chassis } = smbios;
  return [
    ...(system === undefined ? [] : ["-smbios", option(`type=${SYSTEM_TABLE}`, system)]),
    ...(chassis === undefined ? [] : ["-smbios", option(`type=${CHASSIS_TABLE}`, chassis)]),
  ];
}
