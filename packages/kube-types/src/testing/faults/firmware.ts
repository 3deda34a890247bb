import { INVALID, REQUIRED, UNSUPPORTED, type FaultRow } from "../objects.ts";

const EFI = { "domain.firmware.bootloader.efi": { secureBoot: false } };

export const FIRMWARE_FAULTS: readonly FaultRow[] = [
  [
    "two boot loaders",
    { "domain.firmware.bootloader": { bios: {}, efi: { secureBoot: false } } },
    `domain.firmware.bootloader ${INVALID}`,
  ],
  [
    "secure boot without SMM",
    { "domain.firmware.bootloader.efi": { secureBoot: true } },
    `domain.firmware.bootloader.efi.secureBoot ${INVALID}`,
  ],
  [
    "secure boot by default without SMM",
    { "domain.firmware.bootloader.efi": {} },
    `domain.firmware.bootloader.efi.secureBoot ${INVALID}`,
  ],
  ["no UUID", { "domain.firmware.uuid": "1234" }, `domain.firmware.uuid ${INVALID}`],
  ["an odd serial", { "domain.firmware.serial": "a/b" }, `domain.firmware.serial ${INVALID}`],
  [
    "arguments of no kernel",
    { "domain.firmware.kernelBoot.kernelArgs": "quiet" },
    `domain.firmware.kernelBoot.kernelArgs ${INVALID}`,
  ],
  [
    "arguments of an initrd",
    {
      "domain.firmware.kernelBoot": {
        kernelArgs: "quiet",
        container: { image: "i", initrdPath: "/i" },
      },
    },
    `domain.firmware.kernelBoot.kernelArgs ${INVALID}`,
  ],
  [
    "a kernel of no image",
    { "domain.firmware.kernelBoot.container": { image: "", kernelPath: "/k" } },
    `domain.firmware.kernelBoot.container.image ${REQUIRED}`,
  ],
  [
    "an image without kernel",
    { "domain.firmware.kernelBoot.container": { image: "i" } },
    `domain.firmware.kernelBoot.container ${REQUIRED}`,
  ],
  [
    "a kernel outside",
    { "domain.firmware.kernelBoot.container": { image: "i", kernelPath: "/../k" } },
    `domain.firmware.kernelBoot.container.kernelPath ${INVALID}`,
  ],
  [
    "a table of no secret",
    { "domain.firmware.acpi.slicNameRef": "root" },
    `domain.firmware.acpi.slicNameRef ${INVALID}`,
  ],
  [
    "no kind of encryption",
    { "domain.launchSecurity": {}, ...EFI },
    `domain.launchSecurity ${REQUIRED}`,
  ],
  [
    "two kinds of encryption",
    { "domain.launchSecurity": { sev: {}, tdx: {} }, ...EFI },
    `domain.launchSecurity ${INVALID}`,
  ],
  [
    "a way of the PC on a mainframe",
    { "domain.launchSecurity": { sev: {} }, architecture: "s390x" },
    `domain.launchSecurity.sev ${INVALID}`,
  ],
  [
    "encryption without UEFI",
    { "domain.launchSecurity": { sev: {} } },
    `domain.launchSecurity ${INVALID}`,
  ],
  [
    "a clock in two ways",
    { "domain.clock": { utc: {}, timezone: "Europe/Rome" } },
    `domain.clock ${INVALID}`,
  ],
  ["an odd time zone", { "domain.clock.timezone": "../zone" }, `domain.clock.timezone ${INVALID}`],
  [
    "an unknown tick policy",
    { "domain.clock.timer.pit": { tickPolicy: "merge" } },
    `domain.clock.timer.pit.tickPolicy ${UNSUPPORTED}`,
  ],
  [
    "ticks of no timer",
    { "domain.clock.timer.hpet": { present: false, tickPolicy: "delay" } },
    `domain.clock.timer.hpet.tickPolicy ${INVALID}`,
  ],
  [
    "Hyper-V in two ways",
    { "domain.features": { hyperv: { relaxed: {} }, hypervPassthrough: { enabled: true } } },
    `domain.features.hyperv ${INVALID}`,
  ],
  [
    "few retries",
    { "domain.features.hyperv.spinlocks.spinlocks": 1 },
    `domain.features.hyperv.spinlocks.spinlocks ${INVALID}`,
  ],
  [
    "a long vendor",
    { "domain.features.hyperv.vendorid.vendorid": "a-long-vendor" },
    `domain.features.hyperv.vendorid.vendorid ${INVALID}`,
  ],
];
