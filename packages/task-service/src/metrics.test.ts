import { create, fromBinary } from "@bufbuild/protobuf";
import type { PodStats } from "@trine/engine";
import { CPUStatSchema, MemoryEventsSchema, MetricsSchema } from "@trine/proto/metrics";
import type { Metrics } from "@trine/proto/metrics";
import { expect, test } from "vitest";
import { toMetricsAny } from "./metrics.ts";

const STATS: PodStats = {
  cpuNs: 7_000n,
  cpuUserNs: 5_000n,
  cpuSystemNs: 2_000n,
  pids: 3n,
  memory: {
    usageBytes: 100n,
    anonBytes: 60n,
    fileBytes: 40n,
    inactiveFileBytes: 30n,
    limitBytes: 200n,
    pageFaults: 9n,
    majorFaults: 1n,
  },
};

function read(stats: PodStats): Metrics {
  const { typeUrl, value } = toMetricsAny(stats);
  expect(typeUrl).toBe("io.containerd.cgroups.v2.Metrics");
  return fromBinary(MetricsSchema, value);
}

test("a machine's figures fill what readers look at without asking", () => {
  const { cpu, memory, memoryEvents, pids } = read(STATS);
  expect(cpu).toMatchObject({ usageUsec: 7n, userUsec: 5n, systemUsec: 2n });
  expect(memory).toMatchObject({
    usage: 100n,
    usageLimit: 200n,
    inactiveFile: 30n,
    pgmajfault: 1n,
  });
  expect(memoryEvents).toMatchObject({ oom: 0n, oomKill: 0n });
  expect(pids).toMatchObject({ current: 3n });
});

test("of a container's control group all is passed on: throttling, and what its limit has killed", () => {
  const cpu = create(CPUStatSchema, { usageUsec: 8n, nrPeriods: 4n, nrThrottled: 2n });
  const memoryEvents = create(MemoryEventsSchema, { oom: 5n, oomKill: 3n });
  const seen = read({ ...STATS, group: { cpu, memoryEvents } });
  expect(seen.cpu).toEqual(cpu);
  expect(seen.memoryEvents).toEqual(memoryEvents);
  expect(seen.memory).toMatchObject({ usage: 100n });
});
