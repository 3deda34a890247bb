import { TrineError } from "@trine/base";
import { record } from "./json-shape.ts";
import type { JsonObject } from "./json-shape.ts";
import type { ContainerLimits, GuestSize } from "./pod-document.ts";

const MIB = 1024 * 1024;
const DEFAULT_PERIOD_US = 100_000;

/**
 * Limits after a change to `before`: OCI linux.resources as JSON. As with runc, what is not there or 0 stays as it was and
 * a negative number takes the limit away. Kind `malformed`.
 */
export function changedLimits(resources: Uint8Array, before: ContainerLimits): ContainerLimits {
  try {
    return limitsOf(JSON.parse(new TextDecoder().decode(resources)), before);
  } catch (cause) {
    throw new TrineError("malformed", "the resources are not JSON", { cause });
  }
}

/** Limits of a container in its OCI specification. */
export function specLimits(spec: JsonObject): ContainerLimits {
  return limitsOf(record(spec["linux"])["resources"], {});
}

function limitsOf(resources: unknown, before: ContainerLimits): ContainerLimits {
  const { memory, cpu } = record(resources);
  const { quota, period } = record(cpu);
  const memoryBytes = changed(record(memory)["limit"], before.memoryBytes);
  const formerPeriod = before.periodUs ?? DEFAULT_PERIOD_US;
  const formerQuota =
    before.cpus === undefined ? undefined : Math.round(before.cpus * formerPeriod); // whole: it was
  const quotaUs = changed(quota, formerQuota);
  const periodUs = changed(period, formerPeriod) ?? formerPeriod;
  return {
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(quotaUs === undefined ? {} : { cpus: quotaUs / periodUs }),
    ...(periodUs === DEFAULT_PERIOD_US ? {} : { periodUs }),
  };
}

function changed(value: unknown, before: number | undefined): number | undefined {
  if (typeof value !== "number" || !Number.isFinite(value) || value === 0) return before;
  return value > 0 ? value : undefined;
}

/** One container's limits change; the others of the pod that have not ended keep theirs. */
export interface LimitsChange {
  readonly before: ContainerLimits;
  readonly after: ContainerLimits;
  readonly others: readonly ContainerLimits[];
}

/**
 * The size of a guest after a change: never so small that what its containers may use together does not fit, as far as
 * it did before. It grows by no more than a limit has been raised, and becomes smaller only where every container has
 * a limit, and not below `least`.
 */
export function sizeAfter(size: GuestSize, least: GuestSize, change: LimitsChange): GuestSize {
  const memory = after("memoryBytes", size, least, change);
  return {
    memoryBytes: memory === size.memoryBytes ? memory : Math.ceil(memory / MIB) * MIB,
    cpus: Math.ceil(after("cpus", size, least, change)),
  };
}

function after(
  of: keyof GuestSize,
  size: GuestSize,
  least: GuestSize,
  { before, after, others }: LimitsChange,
): number {
  const has = size[of];
  const wanted = after[of];
  const all = [wanted, ...others.map((each) => each[of])];
  const sum = all.reduce<number>((total, limit) => total + (limit ?? 0), 0);
  const raised = (wanted ?? 0) - (before[of] ?? has);
  // One that stays as it was takes nothing from containers that are still to come.
  if (raised >= 0) return Math.max(has, Math.min(sum, has + raised));
  return all.includes(undefined) ? has : Math.min(has, Math.max(least[of], sum));
}

/** Kind `exhausted` for a size beyond what the machine can have: limits would be set and mean nothing. */
export function requireReach(
  size: GuestSize,
  from: GuestSize,
  machine: GuestSize & { readonly memoryMaxBytes?: number; readonly maxCpus?: number },
): void {
  const mib = (bytes: number): string => `${Math.floor(bytes / MIB)} MiB`;
  const cpus = (count: number): string => `${count} CPUs`;
  const { memoryMaxBytes = machine.memoryBytes, maxCpus = machine.cpus } = machine;
  requireAtMost(size.memoryBytes, from.memoryBytes, memoryMaxBytes, mib);
  requireAtMost(size.cpus, from.cpus, maxCpus, cpus);
}

function requireAtMost(
  wanted: number,
  has: number,
  most: number,
  words: (amount: number) => string,
): void {
  if (wanted <= has || wanted <= most) return;
  throw new TrineError(
    "exhausted",
    `the pod's guest would need ${words(wanted)} for these limits; it has ${words(has)} and can have ` +
      `${words(most)} at most: make the pod anew`,
  );
}
