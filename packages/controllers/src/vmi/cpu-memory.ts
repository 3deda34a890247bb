import { checkMachineAnnotations } from "@trine/annotations";
import { formatQuantity, parseQuantity } from "@trine/base";
import { type DomainSpec, MAX_PROCESSORS } from "@trine/kube-types";
import type { MachineSize } from "@trine/node-door";
import { type Parts, mappingText, refused } from "./parts.ts";
import { type LaunchSettings, bytesOf } from "./settings.ts";

const MIB = 1024 ** 2;
const CPU_TOPOLOGY = "trine.dev/cpu-topology";
const MEMORY = "trine.dev/memory";
/** Of a pod: what its machine was made with. */
export const MADE_WITH: readonly string[] = [CPU_TOPOLOGY, MEMORY];
/** What trine.dev/cpu-topology takes. */
const MAX_THREADS = 2;
const PAGES: readonly string[] = ["2Mi", "1Gi"];
const AT = "spec.domain";

interface Topology {
  readonly sockets: number;
  readonly cores: number;
  readonly threads: number;
}

export function topologyOf({ cpu }: DomainSpec): Topology {
  return { sockets: cpu?.sockets ?? 1, cores: cpu?.cores ?? 1, threads: cpu?.threads ?? 1 };
}

/** The guest's memory in whole MiB; undefined where nothing says it. */
export function guestBytes({ memory, resources }: DomainSpec): number | undefined {
  const { requests, limits } = resources ?? {};
  const said = memory?.guest ?? requests?.["memory"] ?? limits?.["memory"];
  const bytes = bytesOf(said);
  return bytes === undefined ? undefined : Math.floor(bytes / MIB) * MIB;
}

/** What a pod's machine was made with; undefined where its annotations do not say. */
export function madeWith(
  annotations: Readonly<Record<string, string>> | undefined = {},
): MachineSize | undefined {
  const said = Object.entries(annotations).filter(([name]) => MADE_WITH.includes(name));
  const { settings, problems } = checkMachineAnnotations(Object.fromEntries(said));
  const { topology, memoryBytes } = settings;
  if (problems.length > 0 || topology === undefined || memoryBytes === undefined) return undefined;
  const { sockets = 1, cores = 1, threads = 1 } = topology;
  return { cpus: sockets * cores * threads, memoryBytes };
}

/** Processors: how many, what they look like, and what of the node they run on. */
export function processorParts(
  domain: DomainSpec,
  settings: LaunchSettings,
  made?: MachineSize,
): Parts {
  const { cpu = {} } = domain;
  const topology = topologyOf(domain);
  const { sockets, cores, threads } = topology;
  const count = sockets * cores * threads;
  if (threads > MAX_THREADS) {
    return refused(`${AT}.cpu.threads`, `at most ${MAX_THREADS} threads a core`);
  }
  if (count > MAX_PROCESSORS) {
    return refused(`${AT}.cpu`, `comes to ${count} processors: at most ${MAX_PROCESSORS}`);
  }
  const pinned = cpu.dedicatedCpuPlacement === true;
  const most = Math.min(cpu.maxSockets ?? 0, Math.floor(MAX_PROCESSORS / (cores * threads)));
  const grows = !pinned && most > sockets;
  const features = (cpu.features ?? []).map(({ name, policy }) => [name, policy ?? "require"]);
  const shown = mappingText(Object.fromEntries(features) as object);
  return {
    annotations: {
      [CPU_TOPOLOGY]: JSON.stringify(topology),
      ...(grows ? { "trine.dev/max-cpus": String(most * cores * threads) } : {}),
      ...(cpu.model === undefined || cpu.model === "" ? {} : { "trine.dev/cpu-model": cpu.model }),
      ...(shown === undefined ? {} : { "trine.dev/cpu-features": shown }),
      ...(pinned
        ? { "trine.dev/cpu-pinning": cpu.isolateEmulatorThread === true ? "isolated" : "cpus" }
        : {}),
    },
    ...processorResources(domain, { count, added: count - (made?.cpus ?? count) }, settings),
  };
}

/** What is said to be asked for is so for what the machine was made with; `added`: what it has grown by since. */
function processorResources(
  { cpu, resources }: DomainSpec,
  { count, added }: { readonly count: number; readonly added: number },
  { cpuAllocationRatio, cpuRequest }: LaunchSettings,
): Parts {
  if (cpu?.dedicatedCpuPlacement === true) {
    const all = String(count + (cpu.isolateEmulatorThread === true ? 1 : 0));
    return { requests: { cpu: all }, limits: { cpu: all } };
  }
  const { requests, limits } = resources ?? {};
  const share = (of: number): number => Math.ceil((of * 1000) / cpuAllocationRatio);
  const limit = limits?.["cpu"];
  const said = requests?.["cpu"];
  // A limit alone is the request too, as everywhere in Kubernetes.
  const asked =
    (said !== undefined && added > 0 ? raised(said, share(added), limit) : said) ??
    limit ??
    cpuRequest ??
    `${share(count)}m`;
  return {
    requests: { cpu: String(asked) },
    ...(limit === undefined ? {} : { limits: { cpu: String(limit) } }),
  };
}

/** No more than the limit: that is what can be used. */
function raised(
  said: number | string,
  thousandths: number,
  limit: number | string | undefined,
): string | undefined {
  const of = (quantity: number | string): bigint | undefined =>
    parseQuantity(String(quantity), 1000n);
  const before = of(said);
  if (before === undefined) return undefined;
  const after = before + BigInt(thousandths);
  const most = limit === undefined ? after : (of(limit) ?? after);
  return `${after < most ? after : most}m`;
}

/** Memory of the guest, and what the pod asks for beyond the RuntimeClass's overhead. */
export function memoryParts(
  domain: DomainSpec,
  settings: LaunchSettings,
  made?: MachineSize,
): Parts {
  const guest = guestBytes(domain);
  if (guest === undefined) {
    return refused(`${AT}.memory.guest`, "says not how much memory the guest has");
  }
  const { memory, cpu } = domain;
  const page = memory?.hugepages?.pageSize;
  if (page !== undefined && !PAGES.includes(page)) {
    return refused(`${AT}.memory.hugepages.pageSize`, `one of ${PAGES.join(", ")}`);
  }
  const most = bytesOf(memory?.maxGuest) ?? guest;
  const pinned = cpu?.dedicatedCpuPlacement === true;
  const grows = !pinned && page === undefined && most - guest >= 2 * MIB;
  return {
    annotations: {
      [MEMORY]: quantityOf(guest),
      ...(grows ? { "trine.dev/max-memory": quantityOf(Math.floor(most / MIB) * MIB) } : {}),
      ...(page === undefined ? {} : { "trine.dev/hugepages": page }),
    },
    ...memoryResources(
      domain,
      { guest, added: guest - (made?.memoryBytes ?? guest), page },
      settings,
    ),
  };
}

function memoryResources(
  { memory, resources, cpu }: DomainSpec,
  {
    guest,
    added,
    page,
  }: { readonly guest: number; readonly added: number; readonly page: string | undefined },
  settings: LaunchSettings,
): Parts {
  const { requests, limits } = resources ?? {};
  const ratio = settings.overheadBytes * (settings.overheadRatio - 1);
  const extra = Math.ceil((bytesOf(memory?.reservedOverhead?.addedOverhead) ?? 0) + ratio);
  if (page !== undefined) {
    const pages = { [`hugepages-${page}`]: quantityOf(guest) };
    // The guest's memory is in its pages; the rest is for what is around it.
    const rest = quantityOf(Math.max(extra, MIB));
    return { requests: { ...pages, memory: rest }, limits: { ...pages, memory: rest } };
  }
  const shared = (of: number): number => Math.ceil((of * 100) / settings.memoryOvercommit);
  const pinned = cpu?.dedicatedCpuPlacement === true;
  const limit = bytesOf(limits?.["memory"]) ?? (pinned ? guest : undefined);
  const said = bytesOf(requests?.["memory"]);
  const grown =
    said === undefined
      ? shared(guest)
      : Math.min(said + shared(Math.max(added, 0)), limit ?? Infinity);
  const asked = pinned ? (limit ?? guest) : grown;
  return {
    requests: { memory: quantityOf(asked + extra) },
    ...(limit === undefined ? {} : { limits: { memory: quantityOf(limit + extra) } }),
  };
}

/**
 * What the machine's container asks for, of processors and memory; nothing where a pod cannot be made of them.
 * `made`: what the machine was made with, where it may have grown since.
 */
export function asksOf(
  domain: DomainSpec,
  settings: LaunchSettings,
  made?: MachineSize,
): Readonly<Record<string, string>> {
  const parts = [processorParts(domain, settings, made), memoryParts(domain, settings, made)];
  if (parts.some(({ refusals }) => refusals !== undefined)) return {};
  return Object.assign({}, ...parts.map(({ requests }) => requests)) as Record<string, string>;
}

/** Resources that are neither processors nor memory, as they are asked for: storage, and those of device plugins. */
export function otherResources({ resources }: DomainSpec): Parts {
  return { requests: others(resources?.requests), limits: others(resources?.limits) };
}

function others(
  of: Readonly<Record<string, number | string>> | undefined = {},
): Readonly<Record<string, string>> {
  const kept = Object.entries(of).filter(
    ([name]) => name !== "cpu" && name !== "memory" && !name.startsWith("hugepages-"),
  );
  return Object.fromEntries(kept.map(([name, value]) => [name, String(value)]));
}

export function quantityOf(bytes: number): string {
  return formatQuantity(BigInt(bytes));
}
