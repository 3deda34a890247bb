import type { VirtualMachineInstancetype } from "../instancetype/instancetype.ts";
import type { VirtualMachinePreference } from "../instancetype/preference.ts";
import { thousandthsOf } from "./fields.ts";
import type { Report } from "./report.ts";

/** What an instance type may give: some processors, some memory, and no page of it twice where pages are large. */
export function checkInstancetype({ spec }: VirtualMachineInstancetype, report: Report): void {
  const { cpu, memory } = spec;
  if (cpu.guest < 1) report.invalid("spec.cpu.guest", `is ${cpu.guest}, must be 1 at least`);
  const guest = thousandthsOf(memory.guest) ?? 0n;
  if (guest <= 0n) report.invalid("spec.memory.guest", "must be more than nothing");
  const most = thousandthsOf(memory.maxGuest);
  if (most !== undefined && most < guest) {
    report.invalid("spec.memory.maxGuest", "must not be less than memory.guest");
  }
  if ((memory.overcommitPercent ?? 0) !== 0 && memory.hugepages !== undefined) {
    report.invalid("spec.memory.overcommitPercent", "must not stand with memory.hugepages");
  }
}

/** A core has two threads, so that is all that a spread over cores and threads can be. */
export function checkPreference({ spec }: VirtualMachinePreference, report: Report): void {
  const { preferredCPUTopology: topology, spreadOptions } = spec.cpu ?? {};
  if (topology !== "spread" && topology !== "preferSpread") return;
  const { across, ratio = spec.preferSpreadSocketToCoreRatio ?? 2 } = spreadOptions ?? {};
  if (across === "CoresThreads" && ratio !== 2) {
    report.invalid("spec.cpu.spreadOptions.ratio", `is ${ratio}, must be 2 over cores and threads`);
  }
}
