import type {
  Clock,
  DomainSpec,
  Features,
  Firmware,
  VirtualMachineInstanceSpec,
} from "@trine/kube-types";
import { boardOf } from "./board.ts";
import { type Parts, mappingText, refused } from "./parts.ts";
import type { LaunchSettings } from "./settings.ts";

/** Where a machine finds the claim that keeps its variables and its TPM. */
const STATE_PATH = "/trine.dev/state";
const STATE_VOLUME = "trine-state";

/** Whether something of the machine outlives its pod beside its disks. */
export function keepsState({ firmware, devices }: DomainSpec): boolean {
  const tpm = devices.tpm;
  const keepsTpm = tpm?.persistent === true && tpm.enabled !== false;
  return firmware?.bootloader?.efi?.persistent === true || keepsTpm;
}

/** Board, firmware, and the claim for what they keep. */
export function firmwareParts(
  { architecture = "amd64", domain }: VirtualMachineInstanceSpec,
  settings: LaunchSettings,
  stateClaim: string,
): Parts {
  const { firmware = {}, chassis, machine, launchSecurity } = domain;
  if (launchSecurity !== undefined) {
    const why =
      "there are no confidential machines here, and one without would not be what was asked for";
    return refused("spec.domain.launchSecurity", why);
  }
  const smbios = mappingText({ ...settings.smbios, serial: firmware.serial });
  const shownChassis = chassis === undefined ? undefined : mappingText(chassis);
  // Other architectures are refused for themselves, and have boards of theirs.
  const board = boardOf(architecture === "amd64" ? machine?.type : undefined);
  if ("refused" in board) return refused("spec.domain.machine.type", board.refused);
  const keeps = keepsState(domain);
  return {
    annotations: {
      ...(firmware.uuid === undefined ? {} : { "trine.dev/uuid": firmware.uuid }),
      ...(smbios === undefined ? {} : { "trine.dev/smbios": smbios }),
      ...(shownChassis === undefined ? {} : { "trine.dev/chassis": shownChassis }),
      ...(board.type === undefined ? {} : { "trine.dev/machine-type": board.type }),
      ...bootloader(firmware),
      ...tpm(domain),
      ...(domain.rebootPolicy === "Terminate" ? { "trine.dev/on-reboot": "end" } : {}),
      ...(keeps ? { "trine.dev/state": STATE_PATH } : {}),
    },
    ...(keeps
      ? {
          volumes: [{ name: STATE_VOLUME, persistentVolumeClaim: { claimName: stateClaim } }],
          mounts: [{ name: STATE_VOLUME, mountPath: STATE_PATH }],
        }
      : {}),
  };
}

function bootloader({ bootloader }: Firmware): Record<string, string> {
  const { efi, bios } = bootloader ?? {};
  if (efi === undefined)
    return bios?.useSerial === true ? { "trine.dev/firmware-serial": "on" } : {};
  return {
    "trine.dev/firmware": "uefi",
    // As KubeVirt has it: EFI is with secure boot unless it says otherwise.
    "trine.dev/secure-boot": efi.secureBoot === false ? "off" : "on",
    ...(efi.persistent === true ? { "trine.dev/firmware-persistent": "on" } : {}),
  };
}

function tpm({ devices }: DomainSpec): Record<string, string> {
  if (devices.tpm === undefined || devices.tpm.enabled === false) return {};
  return { "trine.dev/tpm": devices.tpm.persistent === true ? "persistent" : "on" };
}

/** Clock, timers and what Windows finds of Hyper-V. */
export function featureParts({ clock, features }: DomainSpec): Parts {
  const told = clock === undefined ? undefined : mappingText(clockFields(clock));
  const hyperv = features === undefined ? undefined : mappingText(hypervFields(features));
  const platform = features === undefined ? undefined : mappingText(platformFields(features));
  return {
    annotations: {
      ...(told === undefined ? {} : { "trine.dev/clock": told }),
      ...(hyperv === undefined ? {} : { "trine.dev/hyperv": hyperv }),
      ...(platform === undefined ? {} : { "trine.dev/platform": platform }),
    },
  };
}

function clockFields({ utc, timezone, timer }: Clock): object {
  const { hpet, kvm, pit, rtc, hyperv } = timer ?? {};
  const late = pit?.tickPolicy === "delay" || pit?.tickPolicy === "discard";
  return {
    timezone,
    offset: utc?.offsetSeconds,
    rtc: rtc?.tickPolicy,
    track: rtc?.track,
    pit: late && pit.present !== false ? pit.tickPolicy : undefined,
    pitPresent: pit?.present === false ? "off" : undefined,
    hpet: onOff(hpet?.present),
    kvmclock: onOff(kvm?.present),
    hypervclock: onOff(hyperv?.present),
  };
}

/** What is there anyway is not said: only what a spec takes away, and what it says of KVM. */
function platformFields({ acpi, apic, smm, kvm, pvspinlock }: Features): object {
  const taken = (feature: { readonly enabled?: boolean } | undefined): "off" | undefined =>
    feature?.enabled === false ? "off" : undefined;
  return {
    acpi: taken(acpi),
    smm: taken(smm),
    hidden: kvm?.hidden === true ? "on" : undefined,
    endOfInterrupt: onOff(apic?.endOfInterrupt),
    pvspinlock: pvspinlock === undefined ? undefined : onOff(pvspinlock.enabled ?? true),
  };
}

function hypervFields({ hyperv, hypervPassthrough }: Features): object {
  const { spinlocks, synictimer, vendorid, tlbflush, ...plain } = hyperv ?? {};
  const isOn = (feature: { readonly enabled?: boolean } | undefined): string | undefined =>
    feature === undefined ? undefined : onOff(feature.enabled ?? true);
  const on = Object.entries(plain).map(([name, feature]) => [name, isOn(feature)]);
  return {
    ...(Object.fromEntries(on) as object),
    spinlocks:
      spinlocks === undefined || spinlocks.enabled === false
        ? undefined
        : (spinlocks.spinlocks ?? 4096),
    synictimer: isOn(synictimer),
    synictimerDirect: isOn(synictimer?.direct),
    vendorid: vendorid?.enabled === false ? undefined : vendorid?.vendorid,
    tlbflush: isOn(tlbflush),
    tlbflushDirect: isOn(tlbflush?.direct),
    tlbflushExtended: isOn(tlbflush?.extended),
    passthrough: hypervPassthrough?.enabled === true ? "on" : undefined,
  };
}

function onOff(value: boolean | undefined): "on" | "off" | undefined {
  if (value === undefined) return undefined;
  return value ? "on" : "off";
}
