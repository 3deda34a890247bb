import type { Fields } from "./value-types.ts";

const TEXT = {
  type: "word",
  pattern: /^[\x20-\x7e]{1,64}$/,
  allowed: "1 to 64 printable ASCII characters",
} as const;

export const SMBIOS_FIELDS = {
  manufacturer: { ...TEXT, description: "Who made it." },
  product: { ...TEXT, description: "Its product name." },
  version: { ...TEXT, description: "Its version." },
  serial: { ...TEXT, description: "Its serial number." },
  sku: { ...TEXT, description: "Its stock-keeping unit." },
  family: { ...TEXT, description: "Its family." },
} as const satisfies Fields;

export const CHASSIS_FIELDS = {
  manufacturer: { ...TEXT, description: "Who made it." },
  version: { ...TEXT, description: "Its version." },
  serial: { ...TEXT, description: "Its serial number." },
  asset: { ...TEXT, description: "Its asset tag." },
  sku: { ...TEXT, description: "Its stock-keeping unit." },
} as const satisfies Fields;

/** By KubeVirt's names. */
export const HYPERV_FIELDS = {
  relaxed: { type: "switch", description: "No watchdog of Windows' own over its CPUs." },
  vapic: { type: "switch", description: "Virtual APIC." },
  spinlocks: {
    type: "integer",
    min: 4096,
    max: 4_294_967_295,
    description: "After how many tries the guest tells that it waits for a lock.",
  },
  vpindex: { type: "switch", description: "Numbers of virtual processors." },
  runtime: { type: "switch", description: "How long a virtual processor has run." },
  synic: { type: "switch", description: "Synthetic interrupt controller. Needs vpindex." },
  synictimer: { type: "switch", description: "Synthetic timers. Needs synic and hypervclock." },
  synictimerDirect: {
    type: "switch",
    description: "Timers that interrupt directly. Needs synictimer.",
  },
  reset: { type: "switch", description: "Reset by a register." },
  vendorid: {
    type: "word",
    pattern: /^[\x20-\x7e]{1,12}$/,
    allowed: "1 to 12 printable ASCII characters",
    description: "What the hypervisor calls itself.",
  },
  frequencies: { type: "switch", description: "Frequencies of TSC and APIC." },
  reenlightenment: { type: "switch", description: "Notification after a migration." },
  tlbflush: { type: "switch", description: "Flushes of other CPUs' TLBs. Needs vpindex." },
  tlbflushDirect: { type: "switch", description: "For nested guests. Needs tlbflush and vapic." },
  tlbflushExtended: { type: "switch", description: "Of parts of a TLB. Needs tlbflush." },
  ipi: { type: "switch", description: "Interrupts to several CPUs at once. Needs vpindex." },
  evmcs: { type: "switch", description: "For nested guests on Intel. Needs vapic." },
  passthrough: { type: "switch", description: "All that the host's KVM has." },
} as const satisfies Fields;

const ZONE = /^[A-Za-z][A-Za-z0-9_+-]{0,31}(\/[A-Za-z0-9][A-Za-z0-9_+-]{0,31}){0,2}$/;

export const CLOCK_FIELDS = {
  timezone: {
    type: "word",
    pattern: ZONE,
    allowed: "a name of the time zone database, such as Europe/Berlin",
    description: "Whose local time the clock has at the start. Default UTC.",
  },
  offset: {
    type: "integer",
    min: -157_680_000,
    max: 157_680_000,
    description: "Seconds that the clock is ahead of UTC at the start.",
  },
  rtc: {
    type: "choice",
    choices: ["catchup", "delay"],
    description:
      "Ticks of the clock that were missed: given quickly afterwards (default), or late.",
  },
  pit: {
    type: "choice",
    choices: ["delay", "discard"],
    description:
      "Ticks of the interval timer that were missed: given late (default), or not. KVM only.",
  },
  track: {
    type: "choice",
    choices: ["guest", "wall"],
    description:
      "What the clock goes by while the machine runs: the host's (wall, default), or time in which the guest was not paused.",
  },
  pitPresent: { type: "switch", description: "The interval timer. Default on." },
  hpet: { type: "switch", description: "The high precision event timer. Default on." },
  kvmclock: { type: "switch", description: "The clock of Linux guests under KVM. Default on." },
  hypervclock: {
    type: "switch",
    description: "The clock of Windows guests under KVM. Default off.",
  },
} as const satisfies Fields;

export const PLATFORM_FIELDS = {
  acpi: {
    type: "switch",
    description: "The VMM's ACPI tables; without them a BIOS makes plain ones. Default on.",
  },
  smm: { type: "switch", description: "System management mode. Default on." },
  hidden: { type: "switch", description: "No signature of KVM for the guest. Default off." },
  endOfInterrupt: {
    type: "switch",
    description: "KVM's short way to end interrupts. Unset: where KVM has it.",
  },
  pvspinlock: {
    type: "switch",
    description: "KVM's way to wait for locks. Unset: where KVM has it.",
  },
} as const satisfies Fields;
