import { formatQuantity } from "@trine/base";
import { amountOf, thousandthsOf } from "../checks/fields.ts";
import type { DomainSpec } from "../kubevirt/domain.ts";
import type { Memory } from "../kubevirt/memory.ts";
import type { CPU } from "../kubevirt/processor.ts";
import type { ClusterDefaults } from "./settings.ts";

/** As many processors as a machine can have here: one-byte APIC ids address no more. */
export const MAX_PROCESSORS = 255;

/** One of each; sockets by what is asked for where nothing else is said. `domain` has been checked. */
export function defaultProcessor(domain: DomainSpec, defaults: ClusterDefaults): CPU {
  const { cpu = {} } = domain;
  const said = [cpu.sockets, cpu.cores, cpu.threads].some((count) => (count ?? 0) > 0);
  const cores = orOne(cpu.cores);
  const threads = orOne(cpu.threads);
  const sockets = said ? orOne(cpu.sockets) : askedFor(domain);
  const most = Math.max(Math.floor(MAX_PROCESSORS / (cores * threads)), sockets);
  const { maxCpuSockets: ofAll = 0 } = defaults;
  const wanted = ofAll > 0 ? Math.max(ofAll, sockets) : sockets * defaults.maxHotplugRatio;
  const grown = Math.min(wanted, most);
  return {
    ...cpu,
    sockets,
    cores,
    threads,
    maxSockets: (cpu.maxSockets ?? 0) > 0 ? (cpu.maxSockets ?? grown) : grown,
    model: cpu.model === undefined || cpu.model === "" ? defaults.cpuModel : cpu.model,
  };
}

function orOne(count: number | undefined): number {
  return count === undefined || count === 0 ? 1 : count;
}

/** Whole processors of the limit, else of the request; one at least. */
function askedFor({ resources }: DomainSpec): number {
  const cpu = resources?.limits?.["cpu"] ?? resources?.requests?.["cpu"];
  const thousandths = thousandthsOf(cpu) ?? 0n;
  return Math.max(Number((thousandths + 999n) / 1000n), 1);
}

/** The guest's memory: what is said, else the request, else the limit. */
export function defaultMemory(
  domain: DomainSpec,
  architecture: string,
  defaults: ClusterDefaults,
): Memory | undefined {
  const { memory, resources } = domain;
  const guest = memory?.guest ?? resources?.requests?.["memory"] ?? resources?.limits?.["memory"];
  if (guest === undefined) return memory;
  const grows = memory?.maxGuest === undefined && architecture !== "arm64";
  const bytes = amountOf(guest) ?? 0n;
  const ofAll = amountOf(defaults.maxGuest) ?? 0n;
  const least = ofAll > bytes ? ofAll : bytes;
  const most = ofAll > 0n ? least : bytes * BigInt(defaults.maxHotplugRatio);
  return { ...memory, guest, ...(grows && { maxGuest: formatQuantity(most) }) };
}
