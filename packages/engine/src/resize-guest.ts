import { pollUntil } from "@trine/base";
import { MEMORY_STEP } from "@trine/vmm";
import type { Machine, MachineSpec } from "@trine/vmm";
import type { GuestSize } from "./pod-document.ts";

/** A guest that is asked for what it uses takes its time to find that it cannot do without. */
const RESIZE_MS = 30_000;
const LOOK_MS = 20;
/**
 * The VMM counts memory a moment before the guest's kernel has it, when the agent looks for it in vain. Of a guest that
 * does not count by itself a growth is believed after so many looks.
 */
const SURE_LOOKS = 3;

/** What a guest has in use: CPUs, and where it can tell, how much memory beyond its machine's own. */
interface Online {
  readonly cpus: number;
  readonly addedBytes?: number | undefined;
}

/** Who puts into use what was plugged into a guest, so many CPUs and no more. */
interface OnliningAgent {
  onlineResources(cpus: number): Promise<Online>;
}

/**
 * Gives a guest what it is to have beyond its machine's own, or takes it back, and waits until the guest has followed.
 * Repeatable. Kind `timeout` when it does not.
 */
export async function resizeGuest(
  spec: MachineSpec,
  size: GuestSize,
  { machine, agent }: { readonly machine: Machine; readonly agent: OnliningAgent },
  life: AbortSignal,
): Promise<void> {
  const bytes = bytesInSteps(spec, size);
  const signal = AbortSignal.any([life, AbortSignal.timeout(RESIZE_MS)]);
  const there = await offerSize(spec, size, machine, signal);
  let followed = 0;
  await pollUntil("the guest follows", { ms: RESIZE_MS, everyMs: LOOK_MS, signal }, async () => {
    const { memory, cpus: present } = await machine.stats(signal);
    // What it is giving back must not be put into use again; what was plugged in is of use only then.
    if (memory.totalBytes > bytes || present > there) return undefined;
    const { cpus, addedBytes } = await agent.onlineResources(size.cpus);
    // Who cannot put out of use what is not taken back has all of it in use, and its limit bounds it.
    const isRight = cpus === size.cpus || (there > size.cpus && cpus === there);
    followed = memory.totalBytes === bytes && isRight ? followed + 1 : 0;
    if (addedBytes === undefined) return followed === SURE_LOOKS ? true : undefined;
    return followed > 0 && addedBytes >= bytes - spec.memoryBytes ? true : undefined;
  });
}

/** What a guest is to have, for it to follow when it will; answers how many CPUs there are then, in use or not. */
export async function offerSize(
  spec: MachineSpec,
  size: GuestSize,
  machine: Machine,
  signal: AbortSignal,
): Promise<number> {
  if (spec.memoryMaxBytes !== undefined)
    await machine.resizeMemory(bytesInSteps(spec, size), signal);
  return spec.maxCpus === undefined ? spec.cpus : machine.resizeCpus(size.cpus, signal);
}

function bytesInSteps({ memoryBytes: least }: MachineSpec, { memoryBytes }: GuestSize): number {
  return least + Math.max(0, Math.floor((memoryBytes - least) / MEMORY_STEP)) * MEMORY_STEP;
}
