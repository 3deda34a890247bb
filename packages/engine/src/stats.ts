import type { StatsResponse } from "@trine/proto/agent";
import type { MemoryStat, Metrics } from "@trine/proto/metrics";
import type { MachineStats } from "@trine/vmm";

/** A task's figures as CRI wants them: the guest's truth. */
export interface PodStats {
  readonly cpuNs: bigint;
  readonly cpuUserNs: bigint;
  readonly cpuSystemNs: bigint;
  readonly pids: bigint;
  readonly memory: {
    readonly usageBytes: bigint;
    readonly anonBytes: bigint;
    readonly fileBytes: bigint;
    readonly inactiveFileBytes: bigint;
    readonly limitBytes: bigint;
    readonly pageFaults: bigint;
    readonly majorFaults: bigint;
  };
  /** Level microvm: all that the container's control group says of these, and of what its memory limit did. */
  readonly group?: Pick<Metrics, "cpu" | "memory" | "memoryEvents">;
}

const NS_PER_US = 1000n;

/**
 * Undefined = nothing runs: zeros (an empty answer would end containerd 1.6). `said`: what our agent says of its guest.
 * Processor time is what the node has spent either way: a counter has one source, whoever answers.
 */
export function machineStats(stats: MachineStats | undefined, said?: StatsResponse): PodStats {
  const container = stats === undefined ? undefined : said?.container;
  const memory = stats?.memory;
  const total = memory?.totalBytes ?? 0;
  const free = memory?.freeBytes ?? 0;
  const cache = memory?.diskCacheBytes ?? 0;
  // A guest that reports nothing is taken to use all it was given.
  const used = Math.max(0, total - free);
  const file = BigInt(Math.min(cache, used));
  return {
    cpuNs: stats?.cpuNs ?? 0n,
    cpuUserNs: stats?.cpuNs ?? 0n,
    cpuSystemNs: 0n,
    pids: container?.pids?.current ?? 1n,
    memory: memoryIn(container?.memory, BigInt(total)) ?? {
      usageBytes: BigInt(used),
      anonBytes: BigInt(used) - file,
      fileBytes: file,
      inactiveFileBytes: file,
      limitBytes: BigInt(total),
      pageFaults: BigInt((memory?.minorFaults ?? 0) + (memory?.majorFaults ?? 0)),
      majorFaults: BigInt(memory?.majorFaults ?? 0),
    },
  };
}

/** The guest's words: nothing in it is more than it has. */
function memoryIn(
  said: MemoryStat | undefined,
  totalBytes: bigint,
): PodStats["memory"] | undefined {
  if (said === undefined || said.usageLimit === 0n) return undefined;
  const bounded = (bytes: bigint): bigint => (bytes < totalBytes ? bytes : totalBytes);
  return {
    usageBytes: bounded(said.usage),
    anonBytes: bounded(said.anon),
    fileBytes: bounded(said.file),
    inactiveFileBytes: bounded(said.inactiveFile),
    limitBytes: totalBytes,
    pageFaults: said.pgfault,
    majorFaults: said.pgmajfault,
  };
}

/** A sandbox's, which runs nothing. */
export function noStats(): PodStats {
  return { ...machineStats(undefined), pids: 0n };
}

/** A container's control group in its guest. */
export function containerStats({ container }: StatsResponse): PodStats {
  const { cpu, memory, memoryEvents, pids } = container ?? {};
  return {
    cpuNs: (cpu?.usageUsec ?? 0n) * NS_PER_US,
    cpuUserNs: (cpu?.userUsec ?? 0n) * NS_PER_US,
    cpuSystemNs: (cpu?.systemUsec ?? 0n) * NS_PER_US,
    pids: pids?.current ?? 0n,
    memory: {
      usageBytes: memory?.usage ?? 0n,
      anonBytes: memory?.anon ?? 0n,
      fileBytes: memory?.file ?? 0n,
      inactiveFileBytes: memory?.inactiveFile ?? 0n,
      limitBytes: memory?.usageLimit ?? 0n,
      pageFaults: memory?.pgfault ?? 0n,
      majorFaults: memory?.pgmajfault ?? 0n,
    },
    group: {
      ...(cpu === undefined ? {} : { cpu }),
      ...(memory === undefined ? {} : { memory }),
      ...(memoryEvents === undefined ? {} : { memoryEvents }),
    },
  };
}
