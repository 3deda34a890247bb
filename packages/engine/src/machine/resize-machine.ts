import { TrineError, abortError, abortable, messageOf } from "@trine/base";
import { MEMORY_STEP } from "@trine/vmm";
import type { Machine, MachineSpec } from "@trine/vmm";
import { readBundle } from "../bundle.ts";
import { changedLimits, requireReach, sizeAfter, specLimits } from "../container-limits.ts";
import { requireRoom } from "../guest-memory.ts";
import type { PodContext } from "../pod-context.ts";
import type { ContainerLimits, GuestSize, MachineRecord } from "../pod-document.ts";
import { offerSize, resizeGuest } from "../resize-guest.ts";
import type { Onliner } from "./onlining.ts";

const MIB = 1024 * 1024;
/** A VMM takes an order at once. */
const OFFER_MS = 2_000;

interface RunningMachine {
  readonly record: MachineRecord;
  readonly machine: Machine;
  /** For one change, who puts into use what was plugged in; where nobody answers the guest does it by itself. */
  readonly onliner: () => Onliner;
  readonly life: AbortSignal;
  /** Something came that may not wait for the guest to follow. */
  readonly signal: AbortSignal;
}

/**
 * Changes the limits of a machine's container, and gives its guest what they say, as far as it was made to grow.
 * `resources`: OCI linux.resources as JSON. Kinds `exhausted` for memory beyond what the machine or its pod can have,
 * `timeout` when the guest does not follow: it goes back to what it had.
 */
export async function resizeMachine(
  pod: PodContext,
  running: RunningMachine,
  resources: Uint8Array,
): Promise<void> {
  const { record } = running;
  const before = record.limits ?? specLimits((await readBundle(record.bundle)).spec);
  const after = changedLimits(resources, before);
  const from = sizeOf(record);
  const to = wanted(record.spec, from, { before, after });
  requireReach(to, from, record.spec);
  if (to.memoryBytes > from.memoryBytes) await requireRoom(to.memoryBytes, pod.facts.cgroups);
  if (!isSame(from, to)) await follow(pod, running, from, to);
  record.limits = after;
  await pod.save();
}

/**
 * Gives the guest the memory, and then the CPUs, that its control plane wants it to have, without a change of its container's
 * limits: what it takes of them it keeps. Repeatable. Kind `wrongState` for what it was not made for, for less than it has
 * and while it does not run, `invalid` where its pod's limit is less, `timeout` when the guest does not follow: it goes back
 * to what it had.
 */
export async function giveSize(
  pod: PodContext,
  running: RunningMachine,
  wanted: GuestSize,
): Promise<void> {
  const { record } = running;
  if (record.state !== "running") {
    throw new TrineError("wrongState", `the machine is ${record.state}: no guest would follow`);
  }
  const to = inSteps(wanted, record.spec);
  requireMadeFor(to, record.spec);
  const has = inSteps(sizeOf(record), record.spec);
  requireNoLess(to, has);
  // The guest of a daemon that died meanwhile may be on its way to what it was to have then.
  if (isSame(to, has)) return giveTo(running, to);
  if (to.memoryBytes > has.memoryBytes) await requireRoom(to.memoryBytes, pod.facts.cgroups);
  const failures: unknown[] = [];
  for (const change of [{ memoryBytes: to.memoryBytes }, { cpus: to.cpus }]) {
    const from = sizeOf(record);
    const next = { ...from, ...change };
    if (isSame(from, next)) continue;
    try {
      await follow(pod, running, from, next);
      await pod.save();
      pod.deps.changed?.();
    } catch (cause) {
      failures.push(cause);
    }
  }
  if (failures.length > 0) throw failures[0];
}

function sizeOf({ size, spec }: MachineRecord): GuestSize {
  return size ?? leastOf(spec);
}

function isSame(one: GuestSize, other: GuestSize): boolean {
  return one.cpus === other.cpus && one.memoryBytes === other.memoryBytes;
}

/** A request that comes late must not take away what a later one has given. */
function requireNoLess(wanted: GuestSize, has: GuestSize): void {
  if (wanted.cpus >= has.cpus && wanted.memoryBytes >= has.memoryBytes) return;
  const words = ({ cpus, memoryBytes }: GuestSize): string =>
    `${cpus} CPUs and ${Math.floor(memoryBytes / MIB)} MiB`;
  throw new TrineError(
    "wrongState",
    `${words(wanted)} are less than the guest has, ${words(has)}: only a restart gives it less`,
  );
}

function inSteps({ cpus, memoryBytes }: GuestSize, { memoryBytes: least }: MachineSpec): GuestSize {
  const steps = Math.floor((memoryBytes - least) / MEMORY_STEP);
  return { cpus, memoryBytes: least + steps * MEMORY_STEP };
}

function requireMadeFor({ cpus, memoryBytes }: GuestSize, spec: MachineSpec): void {
  const { maxCpus = spec.cpus, memoryMaxBytes = spec.memoryBytes } = spec;
  requireWithin(cpus, [spec.cpus, maxCpus], (count) => `${count} ${count === 1 ? "CPU" : "CPUs"}`);
  const mib = (bytes: number): string => `${Math.floor(bytes / MIB)} MiB`;
  requireWithin(memoryBytes, [spec.memoryBytes, memoryMaxBytes], mib);
}

function requireWithin(
  wanted: number,
  [least, most]: readonly [number, number],
  words: (amount: number) => string,
): void {
  if (wanted >= least && wanted <= most) return;
  const made =
    least === most
      ? `with ${words(least)} and no room to grow`
      : `for ${words(least)} to ${words(most)}`;
  throw new TrineError("wrongState", `${words(wanted)}: the machine was started ${made}`);
}

function leastOf({ cpus, memoryBytes }: MachineSpec): GuestSize {
  return { cpus, memoryBytes };
}

/** A limit of CPUs bounds how much of a machine's run; how many it has follows only where it was made to grow. */
function wanted(
  spec: MachineSpec,
  from: GuestSize,
  change: { readonly before: ContainerLimits; readonly after: ContainerLimits },
): GuestSize {
  const { cpus, memoryBytes } = sizeAfter(from, leastOf(spec), { ...change, others: [] });
  const { maxCpus = spec.cpus } = spec;
  return { memoryBytes, cpus: Math.min(cpus, maxCpus) };
}

/** A daemon that dies meanwhile is told again: it finds the guest on its way, and repeats what was asked. */
async function follow(
  pod: PodContext,
  running: RunningMachine,
  from: GuestSize,
  to: GuestSize,
): Promise<void> {
  const { record, signal } = running;
  const what = "change the size of the machine";
  signal.throwIfAborted();
  try {
    await giveTo(running, to);
  } catch (cause) {
    await goBack(running, from).catch((failure: unknown) => {
      pod.log.error({ err: messageOf(failure) }, "the guest does not go back to the size it had");
    });
    throw signal.aborted ? abortError(what, signal) : TrineError.during(what, cause);
  }
  record.size = to;
  pod.log.info({ from, to }, "the machine has another size");
}

async function giveTo(
  { record, machine, onliner, life, signal }: RunningMachine,
  to: GuestSize,
): Promise<void> {
  const until = AbortSignal.any([life, signal]);
  const online = onliner();
  // Who puts CPUs into use may take seconds to be found silent.
  const onlineResources = async (cpus: number): Promise<{ cpus: number }> => ({
    cpus: (await abortable("processors in use", until, online(cpus))) ?? cpus,
  });
  await resizeGuest(record.spec, to, { machine, agent: { onlineResources } }, until);
}

/** Where something else may not wait, the guest is told, and goes back when it will. */
async function goBack(running: RunningMachine, from: GuestSize): Promise<void> {
  const { record, machine, life, signal } = running;
  if (!signal.aborted) return giveTo(running, from);
  const soon = AbortSignal.any([life, AbortSignal.timeout(OFFER_MS)]);
  await offerSize(record.spec, from, machine, soon);
}
