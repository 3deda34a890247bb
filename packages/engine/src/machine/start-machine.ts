import { TrineError } from "@trine/base";
import { VMM_KEY } from "@trine/vmm";
import { signalChild } from "../end-child.ts";
import type { PodContext } from "../pod-context.ts";
import type { MachineRecord } from "../pod-document.ts";
import type { PodVmm } from "../pod-vmm.ts";
import { startPasst } from "./machine-passt.ts";
import { withServerWords } from "./machine-shares.ts";

const START_MS = 120_000;

/** Starts the VMM of a machine that has been prepared, then what carries its network. One that rejects has left no VMM. */
export async function startMachine(
  pod: PodContext,
  vmm: PodVmm,
  record: MachineRecord,
  { signal, onSpawned }: { readonly signal: AbortSignal; readonly onSpawned: () => void },
): Promise<void> {
  const until = AbortSignal.any([signal, AbortSignal.timeout(START_MS)]);
  try {
    await vmm.start(record, until, onSpawned);
  } catch (cause) {
    throw await withServerWords(pod, cause);
  }
  await startPasst(pod, record).catch(async (cause: unknown) => {
    await signalChild(pod.shim, VMM_KEY); // without its network the machine does not start
    throw TrineError.during("start the machine's network", cause);
  });
}
