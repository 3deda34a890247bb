import type { DomainSpec, VirtualMachineInstanceSpec } from "@trine/kube-types";
import { topologyOf } from "./cpu-memory.ts";
import { toldDisks } from "./disk-names.ts";
import { busOf, hasOwnThread } from "./disks.ts";
import type { Parts } from "./parts.ts";
/**
 * Threads and queues of disks. Policy auto: what has none of its own shares as many as there are left of two a processor; the VMM's
 * own processor, where it has one, is one thread's. A pool larger than the disks that share it would stand idle.
 */
export function ioParts(spec: VirtualMachineInstanceSpec): Parts {
  const { domain } = spec;
  const { cpu, ioThreadsPolicy: policy, devices } = domain;
  const onThreads = toldDisks(spec).filter(({ disk }) => busOf(disk) !== "sata");
  const own = onThreads.filter(({ disk }) => hasOwnThread(disk)).length;
  const others = onThreads.length - own;
  const { sockets, cores, threads } = topologyOf(domain);
  const limit = cpu?.isolateEmulatorThread === true ? 1 : 2 * sockets * cores * threads;
  const isThreaded = policy !== undefined || own > 0;
  const pool = Math.min(others, Math.max(1, askedThreads(domain, limit - own)));
  return {
    annotations: {
      ...(isThreaded && pool > 0 ? { "trine.dev/io-threads": String(pool) } : {}),
      ...(devices.blockMultiQueue === true ? { "trine.dev/disk-multiqueue": "on" } : {}),
    },
  };
}

function askedThreads({ ioThreadsPolicy, ioThreads }: DomainSpec, left: number): number {
  if (ioThreadsPolicy === "auto") return left;
  const pool = ioThreadsPolicy === "supplementalPool" ? ioThreads : undefined;
  return pool?.supplementalPoolThreadCount ?? 1;
}
