import { availableParallelism } from "node:os";
import { pollUntil } from "@trine/base";
import type { AgentClient } from "@trine/guest-link";
import { MEMORY_STEP } from "@trine/vmm";
import type { Machine, MachineSpec } from "@trine/vmm";
import type { GuestSize } from "../pod-document.ts";

/** By so much a guest can grow beyond its template's memory. */
const MOST_GROWTH_BYTES = 16 * 1024 ** 3;
/** With room for more memory than the first 4 GiB the kernel sets 64 MiB aside for devices that reach no further. */
const NO_BOUNCE = "swiotlb=noforce";
const GROW_MS = 60_000;
const LOOK_MS = 20;

/**
 * The machine that is a template for all of at least its size: like the one wanted, of the largest base that
 * holds no more than that, with room to grow. The wanted machine itself where no base is small enough.
 */
export function growingMachine(wanted: MachineSpec, bases: readonly GuestSize[]): MachineSpec {
  const most = availableParallelism();
  const [base] = bases
    .filter(({ cpus, memoryBytes }) => {
      const growth = wanted.memoryBytes - memoryBytes;
      return cpus <= wanted.cpus && growth >= 0 && growth <= MOST_GROWTH_BYTES;
    })
    .toSorted((one, other) => other.memoryBytes - one.memoryBytes);
  const { boot } = wanted;
  if (base === undefined || wanted.cpus > Math.max(most, base.cpus)) return wanted;
  if (boot?.kind !== "direct") return wanted;
  return {
    ...wanted,
    ...base,
    memoryMaxBytes: base.memoryBytes + MOST_GROWTH_BYTES,
    ...(most > base.cpus ? { maxCpus: most } : {}),
    boot: { ...boot, cmdline: `${boot.cmdline} ${NO_BOUNCE}` },
  };
}

/** The same machine when it boots: it has its size from the start. */
export function bootingMachine(spec: MachineSpec, size: GuestSize): MachineSpec {
  const booting: MachineSpec = { ...spec, ...size };
  for (const name of ["origin", "memoryMaxBytes", "maxCpus"] as const) {
    Reflect.deleteProperty(booting, name);
  }
  return booting;
}

/** Gives a guest what its pod has beyond the template, and waits until the guest has taken it. Repeatable. */
export async function growGuest(
  spec: MachineSpec,
  size: GuestSize,
  { machine, agent }: { readonly machine: Machine; readonly agent: AgentClient },
  life: AbortSignal,
): Promise<void> {
  const steps = Math.floor((size.memoryBytes - spec.memoryBytes) / MEMORY_STEP);
  const bytes = spec.memoryBytes + steps * MEMORY_STEP;
  if (steps <= 0 && size.cpus <= spec.cpus) return;
  const signal = AbortSignal.any([life, AbortSignal.timeout(GROW_MS)]);
  if (steps > 0) await machine.resizeMemory(bytes, signal);
  if (size.cpus > spec.cpus) await machine.resizeCpus(size.cpus, signal);
  await pollUntil("the guest grows", { ms: GROW_MS, everyMs: LOOK_MS, signal }, async () => {
    const { memory } = await machine.stats(signal);
    // What was plugged in is of use only when the guest has put it into use.
    const cpus = await agent.onlineResources();
    return memory.totalBytes >= bytes && cpus >= size.cpus ? true : undefined;
  });
}
