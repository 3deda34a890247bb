import type { DomainSpec } from "../kubevirt/domain.ts";
import type { VirtualMachineInstanceSpec } from "../kubevirt/instance-spec.ts";
import { atMostOne, exactlyOne, filled, setOf } from "./fields.ts";
import { checkForm } from "./names.ts";
import { type Report, shown } from "./report.ts";

export function checkFirmware(spec: VirtualMachineInstanceSpec, at: string, report: Report): void {
  const { firmware, features } = spec.domain;
  const field = `${at}.domain.firmware`;
  if (firmware === undefined) return;
  checkForm("uuid", firmware.uuid, `${field}.uuid`, report);
  checkForm("serial", firmware.serial, `${field}.serial`, report);
  const { bootloader, kernelBoot, acpi } = firmware;
  if (bootloader !== undefined) {
    atMostOne(bootloader, ["bios", "efi"], `${field}.bootloader`, report);
    const secure = bootloader.efi !== undefined && bootloader.efi.secureBoot !== false;
    const smm = features?.smm !== undefined && features.smm.enabled !== false;
    if (secure && !smm) {
      const message = "is on unless it is false, and needs features.smm";
      report.invalid(`${field}.bootloader.efi.secureBoot`, message);
    }
  }
  if (kernelBoot !== undefined) checkKernel(kernelBoot, `${field}.kernelBoot`, report);
  const secrets = new Set(
    (spec.volumes ?? []).filter(({ secret }) => secret !== undefined).map(({ name }) => name),
  );
  for (const name of ["slicNameRef", "msdmNameRef"] as const) {
    const table = acpi?.[name];
    if (table === undefined || secrets.has(table)) continue;
    report.invalid(`${field}.acpi.${name}`, `is ${shown(table)}, which is no volume of a Secret`);
  }
}

type KernelBoot = NonNullable<NonNullable<DomainSpec["firmware"]>["kernelBoot"]>;

function checkKernel({ container, kernelArgs = "" }: KernelBoot, at: string, report: Report): void {
  if (container === undefined) {
    if (kernelArgs !== "") report.invalid(`${at}.kernelArgs`, "need a kernel: give container");
    return;
  }
  filled(container.image, `${at}.container.image`, report);
  if (container.kernelPath === undefined && container.initrdPath === undefined) {
    report.required(`${at}.container`, "must have kernelPath or initrdPath");
  }
  if (kernelArgs !== "" && container.kernelPath === undefined) {
    report.invalid(`${at}.kernelArgs`, "need a kernel: give container.kernelPath");
  }
  for (const name of ["kernelPath", "initrdPath"] as const) {
    const path = container[name];
    if (path === undefined || (path.startsWith("/") && !path.split("/").includes(".."))) continue;
    report.invalid(`${at}.container.${name}`, `is ${shown(path)}, which is no absolute path`);
  }
}

/** What encrypts the guest's memory, and what it needs. */
/** On a mainframe there is one way only, which needs no name. */
export function checkLaunchSecurity(
  { domain, architecture }: VirtualMachineInstanceSpec,
  at: string,
  report: Report,
): void {
  const { launchSecurity, firmware } = domain;
  if (launchSecurity === undefined) return;
  const field = `${at}.domain.launchSecurity`;
  if (architecture === "s390x") {
    const [named] = setOf(launchSecurity, ["sev", "snp", "tdx"]);
    if (named !== undefined) report.invalid(`${field}.${named}`, "does not exist on s390x");
    return;
  }
  exactlyOne(launchSecurity, ["sev", "snp", "tdx"], field, report);
  const efi = firmware?.bootloader?.efi;
  if (efi === undefined) report.invalid(field, "needs firmware.bootloader.efi");
  else if (efi.secureBoot !== false) {
    report.invalid(field, "needs firmware.bootloader.efi.secureBoot to be false");
  }
}

export function checkClock({ clock }: DomainSpec, at: string, report: Report): void {
  if (clock === undefined) return;
  atMostOne(clock, ["utc", "timezone"], `${at}.clock`, report);
  const { timezone } = clock;
  if (timezone !== undefined && !/^[A-Za-z0-9_+/-]{1,64}$/.test(timezone)) {
    report.invalid(`${at}.clock.timezone`, `is ${shown(timezone)}, which is no time zone`);
  }
  const { hpet } = clock.timer ?? {};
  if (hpet?.present === false && hpet.tickPolicy !== undefined) {
    report.invalid(`${at}.clock.timer.hpet.tickPolicy`, "stands with a timer that is absent");
  }
}

const MIN_SPINLOCKS = 4095;
const MAX_VENDOR = 12;

export function checkFeatures({ features }: DomainSpec, at: string, report: Report): void {
  const { hyperv, hypervPassthrough } = features ?? {};
  const field = `${at}.features.hyperv`;
  if (hyperv !== undefined && hypervPassthrough?.enabled === true) {
    report.invalid(field, "must not stand with hypervPassthrough");
  }
  const retries = hyperv?.spinlocks?.spinlocks;
  if (retries !== undefined && retries < MIN_SPINLOCKS) {
    report.invalid(
      `${field}.spinlocks.spinlocks`,
      `is ${retries}, must be ${MIN_SPINLOCKS} at least`,
    );
  }
  const vendor = hyperv?.vendorid?.vendorid;
  if (vendor !== undefined && vendor.length > MAX_VENDOR) {
    report.invalid(`${field}.vendorid.vendorid`, `is longer than ${MAX_VENDOR} characters`);
  }
}
