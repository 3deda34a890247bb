import { create, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import type { Any } from "@bufbuild/protobuf/wkt";
import type { PodStats } from "@trine/engine";
import { MetricsSchema } from "@trine/proto/metrics";
import type { Metrics } from "@trine/proto/metrics";

const NS_PER_US = 1000n;

/**
 * io.containerd.cgroups.v2.Metrics: containerd 1.6 and 2.x take it on hosts of either cgroup version. CPU,
 * memory and pids are always there, since readers do not check; events of memory are, since a count that is absent
 * is no metric (container_oom_events_total).
 */
export function toMetricsAny(stats: PodStats): Any {
  // containerd's registry knows the bare message name, without protobuf's usual prefix.
  return create(AnySchema, {
    typeUrl: MetricsSchema.typeName,
    value: toBinary(MetricsSchema, toMetrics(stats)),
  });
}

function toMetrics(stats: PodStats): Metrics {
  const { memory, group = {} } = stats;
  return create(MetricsSchema, {
    pids: { current: stats.pids },
    cpu: group.cpu ?? {
      usageUsec: stats.cpuNs / NS_PER_US,
      userUsec: stats.cpuUserNs / NS_PER_US,
      systemUsec: stats.cpuSystemNs / NS_PER_US,
    },
    memory: group.memory ?? {
      usage: memory.usageBytes,
      usageLimit: memory.limitBytes,
      inactiveFile: memory.inactiveFileBytes,
      anon: memory.anonBytes,
      file: memory.fileBytes,
      pgfault: memory.pageFaults,
      pgmajfault: memory.majorFaults,
    },
    memoryEvents: group.memoryEvents ?? {},
  });
}
