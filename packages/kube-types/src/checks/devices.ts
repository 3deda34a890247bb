import type { DomainSpec } from "../kubevirt/domain.ts";
import { exactlyOne, filled, unique } from "./fields.ts";
import type { Report } from "./report.ts";

/** Devices that are neither disks nor interfaces. */
export function checkDevices(domain: DomainSpec, at: string, report: Report): void {
  const { devices, ioThreads, ioThreadsPolicy } = domain;
  const field = `${at}.devices`;
  const { inputs = [], watchdog, sound, video } = devices;
  unique(
    inputs,
    ({ name }) => name,
    (index) => `${field}.inputs[${index}].name`,
    report,
  );
  inputs.forEach(({ name, type }, index) => {
    filled(name, `${field}.inputs[${index}].name`, report);
    filled(type, `${field}.inputs[${index}].type`, report);
  });
  if (watchdog !== undefined) {
    filled(watchdog.name, `${field}.watchdog.name`, report);
    exactlyOne(watchdog, ["i6300esb", "diag288"], `${field}.watchdog`, report);
  }
  if (sound !== undefined) filled(sound.name, `${field}.sound.name`, report);
  if (video !== undefined && devices.autoattachGraphicsDevice === false) {
    report.invalid(`${field}.video`, "stands with autoattachGraphicsDevice false");
  }
  if (devices.logSerialConsole === true && devices.autoattachSerialConsole === false) {
    report.invalid(`${field}.logSerialConsole`, "stands with autoattachSerialConsole false");
  }
  const threads = ioThreads?.supplementalPoolThreadCount ?? 0;
  if (ioThreadsPolicy === "supplementalPool" && threads < 1) {
    const pool = `${at}.ioThreads.supplementalPoolThreadCount`;
    report.required(pool, "must be 1 at least with ioThreadsPolicy supplementalPool");
  }
}
