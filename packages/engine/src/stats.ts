import type { MachineStats } from "@trine/vmm";

/** A task's figures as CRI wants them: the guest's truth. */
export interface PodStats {
  readonly cpuNs: bigint;
  readonly memory: {
    readonly usageBytes: bigint;
    readonly inactiveFileBytes: bigint;
    readonly limitBytes: bigint;
    readonly pageFaults: bigint;
    readonly majorFaults: bigint;
  };
  readonly disks: MachineStats["disks"];
}

/** Undefined = nothing runs: zeros (an empty answer would end containerd 1.6). */
export function machineStats(stats: MachineStats | undefined): PodStats {
  const memory = stats?.memory;
  const total = memory?.totalBytes ?? 0;
  const free = memory?.freeBytes ?? 0;
  const cache = memory?.diskCacheBytes ?? 0;
  return {
    cpuNs: stats?.cpuNs ?? 0n,
    memory: {
      // A guest that reports nothing is taken to use all it was given.
      usageBytes: BigInt(Math.max(0, total - free)),
      inactiveFileBytes: BigInt(Math.min(cache, Math.max(0, total - free))),
      limitBytes: BigInt(total),
      pageFaults: BigInt((memory?.minorFaults ?? 0) + (memory?.majorFaults ?? 0)),
      majorFaults: BigInt(memory?.majorFaults ?? 0),
    },
    disks: stats?.disks ?? [],
  };
}
