import type { DomainSpec } from "../kubevirt/domain.ts";
import { amountOf, thousandthsOf } from "./fields.ts";
import { type Report, shown } from "./report.ts";

/** Less is no machine's memory: 1M. */
const MIN_MEMORY = 1_000_000n;

/** What else gives a machine its memory and processors. */
export interface Sizing {
  /** An instance type will: the machine's own may be missing. */
  readonly instancetype: boolean;
}

/** Memory of `domain`, its requests and limits. */
export function checkMemory(domain: DomainSpec, at: string, sizing: Sizing, report: Report): void {
  const { memory, resources } = domain;
  const guest = amountOf(memory?.guest);
  const request = amountOf(resources?.requests?.["memory"]);
  const limit = amountOf(resources?.limits?.["memory"]);
  if (guest === undefined && request === undefined && limit === undefined) {
    if (!sizing.instancetype && memory?.hugepages === undefined) {
      const what =
        "no memory is asked for: give memory.guest or memory in resources' requests or limits";
      report.required(`${at}.memory.guest`, `is missing, and ${what}`);
    }
  }
  const least = (amount: bigint | undefined, field: string): void => {
    if (amount === undefined || amount >= MIN_MEMORY) return;
    report.invalid(`${at}.${field}`, `is ${shown(amount)}, must be 1M at least`);
  };
  least(guest, "memory.guest");
  least(request, "resources.requests.memory");
  least(limit, "resources.limits.memory");
  if (limit !== undefined && guest !== undefined && guest > limit) {
    report.invalid(`${at}.memory.guest`, "is more than resources.limits.memory");
  }
  const most = amountOf(memory?.maxGuest);
  if (most !== undefined && guest === undefined) {
    report.required(`${at}.memory.guest`, "is required with maxGuest");
  } else if (most !== undefined && guest !== undefined && guest > most) {
    report.invalid(`${at}.memory.guest`, "is more than memory.maxGuest");
  }
  checkHugepages(domain, at, report);
}

function checkHugepages({ memory, resources }: DomainSpec, at: string, report: Report): void {
  const size = memory?.hugepages?.pageSize;
  if (size === undefined) return;
  const page = amountOf(size);
  const field = `${at}.memory.hugepages.pageSize`;
  if (page === undefined || page <= 0n) {
    report.invalid(field, `is ${shown(size)}, which is not the size of a page, such as 2Mi`);
    return;
  }
  const request = amountOf(resources?.requests?.["memory"]);
  const guest = amountOf(memory?.guest);
  const asked = [
    [`${at}.resources.requests.memory`, request],
    [`${at}.memory.guest`, guest],
  ] as const;
  for (const [where, amount] of asked) {
    if (amount === undefined) continue;
    if (amount < page) report.invalid(field, `is more than ${where}`);
    else if (amount % page !== 0n) report.invalid(where, `is no multiple of the page of ${size}`);
  }
}

/** Requests against limits, and amounts below nothing. */
export function checkRequests({ resources }: DomainSpec, at: string, report: Report): void {
  const { requests = {}, limits = {} } = resources ?? {};
  for (const [what, amounts] of Object.entries({ requests, limits })) {
    for (const [name, amount] of Object.entries(amounts)) {
      if ((thousandthsOf(amount) ?? 0n) >= 0n) continue;
      report.invalid(
        `${at}.resources.${what}.${name}`,
        `is ${shown(amount)}, must not be negative`,
      );
    }
  }
  for (const [name, amount] of Object.entries(requests)) {
    const limit = thousandthsOf(limits[name]);
    if (limit !== undefined && (thousandthsOf(amount) ?? 0n) > limit) {
      const most = shown(limits[name]);
      report.invalid(`${at}.resources.requests.${name}`, `is more than its limit of ${most}`);
    }
  }
}

/** As many as an instance may say; a node's machine has fewer (MAX_PROCESSORS of defaults/processor.ts). */
const MAX_SAID = 512;

export function checkProcessors(domain: DomainSpec, at: string, report: Report): void {
  const { cpu } = domain;
  if (cpu === undefined) return;
  const { sockets = 1, cores = 1, threads = 1, maxSockets } = cpu;
  const count = Math.max(sockets, 1) * Math.max(cores, 1) * Math.max(threads, 1);
  if (count > MAX_SAID) {
    report.invalid(`${at}.cpu`, `makes ${count} processors, ${MAX_SAID} at most`);
  }
  if (maxSockets !== undefined && maxSockets > 0 && sockets > maxSockets) {
    report.invalid(`${at}.cpu.sockets`, `is ${sockets}, more than maxSockets`);
  }
  (cpu.features ?? []).forEach(({ name }, index) => {
    if (name === "") report.required(`${at}.cpu.features[${index}].name`);
  });
  checkPinning(domain, at, report);
}

/** Processors of its own: whole ones, as many asked for as allowed. */
function checkPinning({ cpu, resources, memory }: DomainSpec, at: string, report: Report): void {
  const pinned = cpu?.dedicatedCpuPlacement === true;
  if (!pinned) {
    const need = (set: boolean, field: string): void => {
      if (set) report.invalid(`${at}.cpu.${field}`, "needs dedicatedCpuPlacement");
    };
    need(cpu?.isolateEmulatorThread === true, "isolateEmulatorThread");
    need(cpu?.realtime !== undefined, "realtime");
    need(cpu?.numa?.guestMappingPassthrough !== undefined, "numa.guestMappingPassthrough");
    return;
  }
  const request = thousandthsOf(resources?.requests?.["cpu"]);
  const limit = thousandthsOf(resources?.limits?.["cpu"]);
  const counted = cpu.cores !== undefined || cpu.sockets !== undefined || cpu.threads !== undefined;
  if (request === undefined && limit === undefined && !counted) {
    report.required(
      `${at}.cpu.cores`,
      "or cpu in requests or limits is required when processors are dedicated",
    );
  }
  const whole = (amount: bigint | undefined, field: string): void => {
    if (amount === undefined || amount % 1000n === 0n) return;
    report.invalid(`${at}.resources.${field}.cpu`, "must be whole when processors are dedicated");
  };
  whole(request, "requests");
  whole(limit, "limits");
  if (request !== undefined && limit !== undefined && request !== limit) {
    report.invalid(
      `${at}.resources.requests.cpu`,
      "must equal its limit when processors are dedicated",
    );
  }
  if ((cpu.threads ?? 1) > 2) {
    report.invalid(`${at}.cpu.threads`, "must be 2 at most when processors are dedicated");
  }
  if (cpu.numa?.guestMappingPassthrough !== undefined && memory?.hugepages === undefined) {
    report.required(`${at}.memory.hugepages`, "is required by cpu.numa.guestMappingPassthrough");
  }
}
