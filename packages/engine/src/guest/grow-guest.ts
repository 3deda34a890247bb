import { availableParallelism } from "node:os";
import { MEMORY_STEP, takesCpus } from "@trine/vmm";
import type { MachineSpec } from "@trine/vmm";
import type { GuestSize } from "../pod-document.ts";

/** By so much a guest can grow beyond the memory it begins with. */
const MOST_GROWTH_BYTES = 16 * 1024 ** 3;
/** With room for more memory than the first 4 GiB the kernel sets 64 MiB aside for devices that reach no further. */
const NO_BOUNCE = "swiotlb=noforce";

/**
 * The machine that begins like all of at least its size, and can be a template for them: like the one wanted, of the
 * largest base that holds no more than that, else of its own size, with room to grow. What it has beyond the base it
 * can give back.
 */
export function growingMachine(
  wanted: MachineSpec,
  bases: readonly GuestSize[],
  most = availableParallelism(),
): MachineSpec {
  const { boot } = wanted;
  if (boot?.kind !== "direct") return wanted;
  const own = { cpus: wanted.cpus, memoryBytes: wanted.memoryBytes };
  const [base = own] = bases
    .filter(({ cpus, memoryBytes }) => {
      const growth = wanted.memoryBytes - memoryBytes;
      const isInReach = growth >= 0 && growth <= MOST_GROWTH_BYTES;
      return isInReach && isWithin(wanted, cpus, most);
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

/** Whether a guest that begins with so many CPUs can have those wanted. */
function isWithin({ cpus: wanted, accelerator }: MachineSpec, cpus: number, most: number): boolean {
  if (cpus === wanted) return true;
  return cpus < wanted && wanted <= most && takesCpus({ accelerator, cpus });
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
