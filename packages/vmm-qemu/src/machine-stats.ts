import { readFile } from "node:fs/promises";
import { TICKS_PER_SECOND, kindOf, processorTicks } from "@trine/base";
import type { QmpClient, QmpCommands } from "@trine/qmp";
import type { MachineSpec, MachineStats, VcpuStats } from "@trine/vmm";
import { diskNode } from "./plan-disks.ts";
import { BALLOON_ID, GROWING_ID, hasBalloon } from "./plan-memory.ts";

const BALLOON = `/machine/peripheral/${BALLOON_ID}`;
const BALLOON_POLL_SECONDS = 5;
const TICK_NS = 1_000_000_000n / BigInt(TICKS_PER_SECOND);

/** Lets the guest's balloon driver report its memory from now on; a guest without one reports nothing. */
export async function pollGuestMemory(
  spec: MachineSpec,
  client: QmpClient,
  signal: AbortSignal,
): Promise<void> {
  if (!hasBalloon(spec)) return;
  const property = "guest-stats-polling-interval";
  await client.execute(
    "qom-set",
    { path: BALLOON, property, value: BALLOON_POLL_SECONDS },
    { signal },
  );
}

export async function readStats(
  spec: MachineSpec,
  client: QmpClient,
  signal: AbortSignal,
): Promise<MachineStats> {
  const [cpus, blocks, guest, grown] = await Promise.all([
    client.execute("query-cpus-fast", {}, { signal }),
    client.execute("query-blockstats", {}, { signal }),
    hasBalloon(spec) ? guestStats(client, signal) : undefined,
    spec.memoryMaxBytes === undefined ? 0 : grownBytes(client, signal),
  ]);
  const vcpus = await readVcpus(cpus);
  return {
    cpus: cpus.length,
    cpuNs: vcpus.reduce((sum, { ns }) => sum + ns, 0n),
    vcpus,
    memory: toMemory(guest, spec.memoryBytes + grown),
    disks: toDisks(spec, blocks),
  };
}

/** What the guest has taken of the memory it may grow by. */
async function grownBytes(client: QmpClient, signal: AbortSignal): Promise<number> {
  const path = `/machine/peripheral/${GROWING_ID}`;
  return Number(await client.execute("qom-get", { path, property: "size" }, { signal }));
}

/** `guest-stats` cannot be read before the guest has a driver on some versions: no statistics then. */
async function guestStats(client: QmpClient, signal: AbortSignal): Promise<unknown> {
  try {
    return await client.execute("qom-get", { path: BALLOON, property: "guest-stats" }, { signal });
  } catch (cause) {
    if (kindOf(cause) === "wrongState") return undefined;
    throw cause;
  }
}

/** vCPU threads are QEMU's own, in the host's pid namespace. Where one runs several vCPUs, its time is the first one's. */
async function readVcpus(
  cpus: QmpCommands["query-cpus-fast"]["returns"],
): Promise<readonly VcpuStats[]> {
  const threads = new Set<number>();
  return Promise.all(
    cpus.map(async ({ "cpu-index": id, "thread-id": thread }) => {
      if (threads.has(thread)) return { id, ns: 0n };
      threads.add(thread);
      return { id, ...(await threadTime(thread)) };
    }),
  );
}

/** Milliseconds, in the statistics that the scheduler keeps where it was told to; older kernels write more before it. */
const WAIT_SUM = /^(?:se\.statistics\.)?wait_sum\s*:\s*(\d{1,15})\.(\d{6})$/m;

/** What a thread has waited for a CPU by /proc/ID/sched; undefined where the kernel does not count that. */
export function readWait(sched: string): bigint | undefined {
  const [, ms, rest] = WAIT_SUM.exec(sched) ?? [];
  return ms === undefined || rest === undefined ? undefined : BigInt(ms + rest);
}

/** Time on a CPU and waiting for one: schedstat's numbers in ns, else user and system ticks of stat. */
async function threadTime(id: number): Promise<Omit<VcpuStats, "id">> {
  const waitNs = readWait(await readFile(`/proc/${id}/sched`, "utf8").catch(() => ""));
  return { ...(await timeOn(id)), ...(waitNs === undefined ? {} : { waitNs }) };
}

async function timeOn(id: number): Promise<Omit<VcpuStats, "id">> {
  const exact = await readFile(`/proc/${id}/schedstat`, "utf8").catch(() => "");
  const [, ns, delayNs] = /^(\d+) (\d+) \d+$/m.exec(exact) ?? [];
  if (ns !== undefined && delayNs !== undefined) {
    return { ns: BigInt(ns), delayNs: BigInt(delayNs) };
  }
  const stat = await readFile(`/proc/${id}/stat`, "utf8").catch(() => "");
  const { user, system } = processorTicks(stat) ?? { user: 0, system: 0 };
  return { ns: BigInt(user + system) * TICK_NS };
}

function toDisks(
  spec: MachineSpec,
  blocks: QmpCommands["query-blockstats"]["returns"],
): MachineStats["disks"] {
  return spec.disks.map(({ name }) => {
    const stats = blocks.find((block) => block["node-name"] === diskNode(name))?.stats;
    return {
      name,
      readBytes: BigInt(stats?.rd_bytes ?? 0),
      writtenBytes: BigInt(stats?.wr_bytes ?? 0),
      reads: BigInt(stats?.rd_operations ?? 0),
      writes: BigInt(stats?.wr_operations ?? 0),
      flushes: BigInt(stats?.flush_operations ?? 0),
      readNs: BigInt(stats?.rd_total_time_ns ?? 0),
      writeNs: BigInt(stats?.wr_total_time_ns ?? 0),
      flushNs: BigInt(stats?.flush_total_time_ns ?? 0),
    };
  });
}

/**
 * Reads `guest-stats`: {"last-update": seconds, "stats": {"stat-free-memory": bytes, …}}. The numbers are
 * the guest's words: what cannot be true, and -1 (2^64-1) for "not said", is left out.
 */
export function toMemory(answer: unknown, totalBytes: number): MachineStats["memory"] {
  const { "last-update": updated, stats } = asRecord(answer);
  if (typeof updated !== "number" || updated === 0) return { totalBytes };
  const said = asRecord(stats);
  const upTo = (name: string, most: number): number | undefined => {
    const value = said[name];
    return typeof value === "number" && value >= 0 && value <= most ? value : undefined;
  };
  const all = {
    freeBytes: upTo("stat-free-memory", totalBytes),
    availableBytes: upTo("stat-available-memory", totalBytes),
    diskCacheBytes: upTo("stat-disk-caches", totalBytes),
    majorFaults: upTo("stat-major-faults", Number.MAX_SAFE_INTEGER),
    minorFaults: upTo("stat-minor-faults", Number.MAX_SAFE_INTEGER),
    seenBytes: upTo("stat-total-memory", totalBytes),
    swappedInBytes: upTo("stat-swap-in", Number.MAX_SAFE_INTEGER),
    swappedOutBytes: upTo("stat-swap-out", Number.MAX_SAFE_INTEGER),
  };
  return { totalBytes, ...definedOnly(all) };
}

function definedOnly<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
