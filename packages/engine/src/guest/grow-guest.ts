import { availableParallelism } from "node:os";
import { pollUntil } from "@trine/base";
import type { AgentClient } from "@trine/guest-link";
import { MEMORY_STEP } from "@trine/vmm";
import type { Machine, MachineSpec } from "@trine/vmm";
import type { GuestSize } from "../pod-document.ts";

/** By so much a guest can grow beyond the memory it begins with. */
const MOST_GROWTH_BYTES = 16 * 1024 ** 3;
/** With room for more memory than the first 4 GiB the kernel sets 64 MiB aside for devices that reach no further. */
const NO_BOUNCE = "swiotlb=noforce";
/** A guest that is asked for what it uses takes its time to find that it cannot do without. */
const RESIZE_MS = 30_000;
const LOOK_MS = 20;
/** The VMM counts memory a moment before the guest's kernel has it, when the agent looks for it in vain. */
const SURE_LOOKS = 3;

/**
 * The machine that begins like all of at least its size, and can be a template for them: like the one wanted, of the
 * largest base that holds no more than that, else of its own size, with room to grow. What it has beyond the base it
 * can give back.
 */
export function growingMachine(wanted: MachineSpec, bases: readonly GuestSize[]): MachineSpec {
  const most = availableParallelism();
  const { boot } = wanted;
  if (boot?.kind !== "direct") return wanted;
  const own = { cpus: wanted.cpus, memoryBytes: wanted.memoryBytes };
  const [base = own] = bases
    .filter(({ cpus, memoryBytes }) => {
      const growth = wanted.memoryBytes - memoryBytes;
      const isInReach = growth >= 0 && growth <= MOST_GROWTH_BYTES;
      return isInReach && cpus <= wanted.cpus && wanted.cpus <= Math.max(most, cpus);
    })
    .toSorted((one, other) => other.memoryBytes - one.memoryBytes);
  return {
    ...wanted,
    ...base,
    memoryMaxBytes: base.memoryBytes + MOST_GROWTH_BYTES,
    ...(most > base.cpus ? { maxCpus: most } : {}),
    boot: { ...boot, cmdline: `${boot.cmdline} ${NO_BOUNCE}` },
  };
}

/** The same machine where growing has failed: it boots, and has its size from the start and for ever. */
export function wholeMachine(spec: MachineSpec, size: GuestSize): MachineSpec {
  const booting: MachineSpec = { ...spec, ...size };
  for (const name of ["origin", "memoryMaxBytes", "maxCpus"] as const) {
    Reflect.deleteProperty(booting, name);
  }
  return booting;
}

/** Whether a guest of this size has anything beyond what its machine begins with. */
export function hasGrown(spec: MachineSpec, size: GuestSize): boolean {
  return size.memoryBytes - spec.memoryBytes >= MEMORY_STEP || size.cpus > spec.cpus;
}

/**
 * Gives a guest what it is to have beyond its machine's own, or takes it back, and waits until the guest has followed.
 * Repeatable. Kind `timeout` when it does not.
 */
export async function resizeGuest(
  spec: MachineSpec,
  size: GuestSize,
  { machine, agent }: { readonly machine: Machine; readonly agent: AgentClient },
  life: AbortSignal,
): Promise<void> {
  const steps = Math.max(0, Math.floor((size.memoryBytes - spec.memoryBytes) / MEMORY_STEP));
  const bytes = spec.memoryBytes + steps * MEMORY_STEP;
  const signal = AbortSignal.any([life, AbortSignal.timeout(RESIZE_MS)]);
  if (spec.memoryMaxBytes !== undefined) await machine.resizeMemory(bytes, signal);
  if (spec.maxCpus !== undefined) await machine.resizeCpus(size.cpus, signal);
  let followed = 0;
  await pollUntil("the guest follows", { ms: RESIZE_MS, everyMs: LOOK_MS, signal }, async () => {
    const { memory, cpus: present } = await machine.stats(signal);
    // What it is giving back must not be put into use again; what was plugged in is of use only then.
    if (memory.totalBytes > bytes || present > size.cpus) return undefined;
    const cpus = await agent.onlineResources();
    followed = memory.totalBytes === bytes && cpus === size.cpus ? followed + 1 : 0;
    return followed === SURE_LOOKS ? true : undefined;
  });
}
