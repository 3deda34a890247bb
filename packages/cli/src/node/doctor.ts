import { kindOf, messageOf, TrineError } from "@trine/base";
import { CALLER_CHECKS } from "./check-callers.ts";
import { CONTAINERD_CHECKS } from "./check-containerd.ts";
import { DAEMON_CHECKS } from "./check-daemon.ts";
import { GVISOR_CHECKS } from "./check-gvisor.ts";
import { HOST_CHECKS } from "./check-host.ts";
import { PART_CHECKS } from "./check-parts.ts";
import { VOLUME_CHECKS } from "./check-volumes.ts";
import type { Check, Finding, Place } from "./finding.ts";
import type { Io } from "../io.ts";
import { asList, printList } from "../output/print-list.ts";
import type { List, ListFlags } from "../output/print-list.ts";
import { printable } from "../output/table.ts";

const MARK: Record<Finding["status"], string> = { ok: "ok  ", warn: "warn", fail: "FAIL" };
/** A check that hangs is a failed one; the slowest boots two guests. */
const CHECK_MS = 90_000;

export interface DoctorFlags extends ListFlags {
  readonly containerd: string;
  readonly qemu: string;
}

/** What `doctor` shows as JSON. */
type DoctorDocument = List<Finding>;

/** `trine doctor`: in the order in which a person would look; answers 1 when a check failed. */
export async function doctor(io: Io, flags: DoctorFlags): Promise<number> {
  const place: Place = {
    stateDir: io.stateDir,
    containerd: flags.containerd,
    qemu: flags.qemu,
    onRequest: io.onRequest,
  };
  const human = flags.output.form === "table" && flags.columns === undefined;
  const items: Finding[] = [];
  const checks = [...HOST_CHECKS, ...VOLUME_CHECKS, ...CONTAINERD_CHECKS, ...CALLER_CHECKS];
  for (const check of [...checks, ...GVISOR_CHECKS, ...DAEMON_CHECKS, ...PART_CHECKS]) {
    const finding = await guarded(check, place, io.signal);
    items.push(finding);
    // A person reads each as soon as it is found.
    if (human) io.stdout.write(toLines(finding));
  }
  if (!human) await printFindings(io, flags, items);
  return items.some(({ status }) => status === "fail") ? 1 : 0;
}

async function printFindings(io: Io, flags: DoctorFlags, items: readonly Finding[]): Promise<void> {
  await printList(io, flags, {
    value: asList(items) satisfies DoctorDocument,
    header: ["STATUS", "CHECK", "DETAIL", "FIX"],
    narrow: 3,
    rows: items.map(({ status, name, detail, fix = "" }) => [status, name, detail, fix]),
    names: items.map(({ name }) => name),
  });
}

/** Rejects only when the user interrupts. */
async function guarded(check: Check, place: Place, outer: AbortSignal): Promise<Finding> {
  const signal = AbortSignal.any([outer, AbortSignal.timeout(CHECK_MS)]);
  try {
    return { name: check.name, ...(await check.run(place, signal)) };
  } catch (cause) {
    if (outer.aborted) throw new TrineError("canceled", "interrupted", { cause });
    const detail =
      kindOf(cause) === "timeout" ? `no result: ${messageOf(cause)}` : messageOf(cause);
    return { name: check.name, status: "fail", detail, fix: "see docs/reference/cli.md, doctor" };
  }
}

function toLines(finding: Finding): string {
  const fix = finding.fix === undefined ? "" : `\n       fix: ${printable(finding.fix)}`;
  return `${MARK[finding.status]} ${finding.name}: ${printable(finding.detail)}${fix}\n`;
}
