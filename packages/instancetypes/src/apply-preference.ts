import type { Clock, DomainSpec, Features, Firmware } from "@trine/kube-types";
import { preferDevices } from "./prefer-devices.ts";
import { prefer } from "./prefer.ts";
import type { PreferenceSpec, Template } from "./specs.ts";

/** A machine with what its preference says, where the machine itself says nothing. */
export function applyPreference(
  preference: PreferenceSpec,
  { spec, annotations }: Template,
): Template {
  const preferred = prefer(spec, {
    subdomain: preference.preferredSubdomain,
    terminationGracePeriodSeconds: preference.preferredTerminationGracePeriodSeconds,
    architecture: preference.preferredArchitecture,
  });
  const { devices = {} } = preference;
  const domain = { ...spec.domain, devices: preferDevices(spec, devices) };
  return {
    annotations: { ...preference.annotations, ...annotations },
    spec: { ...preferred, domain: preferDomain(domain, preference) },
  };
}

function preferDomain(domain: DomainSpec, preference: PreferenceSpec): DomainSpec {
  const { features, firmware, machine, clock } = preference;
  const set = prefer(domain, { launchSecurity: preference.preferredLaunchSecurity });
  const type = machine?.preferredMachineType;
  return {
    ...set,
    ...preferProcessors(domain, preference),
    ...(features !== undefined && { features: preferFeatures(domain.features ?? {}, features) }),
    ...(firmware !== undefined && { firmware: preferFirmware(domain.firmware ?? {}, firmware) }),
    ...(type !== undefined && { machine: prefer(domain.machine ?? {}, { type }) }),
    ...(clock !== undefined && { clock: preferClock(domain.clock ?? {}, clock) }),
  };
}

/** Features of the processor that the machine does not name itself. */
function preferProcessors({ cpu = {} }: DomainSpec, { cpu: preferred }: PreferenceSpec): object {
  const { preferredCPUFeatures: wanted = [] } = preferred ?? {};
  if (wanted.length === 0) return {};
  const { features = [] } = cpu;
  const named = new Set(features.map(({ name }) => name));
  const added = wanted.filter(({ name }) => !named.has(name));
  return { cpu: { ...cpu, features: [...features, ...added] } };
}

function preferFeatures(
  features: Features,
  preferred: NonNullable<PreferenceSpec["features"]>,
): Features {
  const { preferredHyperv: hyperv } = preferred;
  const set = prefer(features, {
    acpi: preferred.preferredAcpi,
    apic: preferred.preferredApic,
    kvm: preferred.preferredKvm,
    pvspinlock: preferred.preferredPvspinlock,
    smm: preferred.preferredSmm,
  });
  if (hyperv === undefined) return set;
  return { ...set, hyperv: prefer(features.hyperv ?? {}, hyperv) };
}

type Preferred = NonNullable<PreferenceSpec["firmware"]>;

/** BIOS before EFI; a loader that the machine names stays, and only its open switches are set. */
function preferFirmware(firmware: Firmware, preferred: Preferred): Firmware {
  const { bootloader = {} } = firmware;
  const { bios, efi } = bootloader;
  if (efi !== undefined) {
    // Switches beside preferredEfi are of old: it stands for all of them.
    const secureBoot = preferred.preferredUseSecureBoot;
    return withLoader(firmware, { efi: prefer(efi, { secureBoot }) });
  }
  if (bios !== undefined || preferred.preferredUseBios === true) {
    const useSerial = preferred.preferredUseBiosSerial;
    return withLoader(firmware, { bios: prefer(bios ?? {}, { useSerial }) });
  }
  if (preferred.preferredEfi !== undefined) {
    return withLoader(firmware, { efi: preferred.preferredEfi });
  }
  if (preferred.preferredUseEfi !== true) return firmware;
  return withLoader(firmware, {
    efi: prefer({}, { secureBoot: preferred.preferredUseSecureBoot }),
  });
}

function withLoader(firmware: Firmware, bootloader: NonNullable<Firmware["bootloader"]>): Firmware {
  return { ...firmware, bootloader: { ...firmware.bootloader, ...bootloader } };
}

/** The offset as a whole, never a part of it. */
function preferClock(clock: Clock, preferred: NonNullable<PreferenceSpec["clock"]>): Clock {
  const open = clock.utc === undefined && clock.timezone === undefined;
  const set = open ? { ...clock, ...preferred.preferredClockOffset } : clock;
  return prefer(set, { timer: preferred.preferredTimer });
}
