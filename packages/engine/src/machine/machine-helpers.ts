import type { Child } from "@trine/proto/shim";
import { TPM_KEY } from "@trine/vmm";
import type { PodContext } from "../pod-context.ts";
import type { PodVmm } from "../pod-vmm.ts";
import { PASST_KEY, revivePasst } from "./machine-passt.ts";
import { SHARES_KEY } from "./machine-shares.ts";

/** What the end of one of the machine's other processes means. */
const HELPERS: Readonly<Record<string, string>> = {
  [TPM_KEY]: "the machine's TPM has ended: its guest has none",
  [SHARES_KEY]:
    "what serves the machine's volumes has ended: its guest has none of them until it starts anew",
  [PASST_KEY]: "passt has ended: the machine's connections are lost, and it is started again",
};

/** Those end with the VMM; alone only by a fault or by hand, and what they do for the guest has ended. */
export async function lostHelper(
  pod: PodContext,
  vmm: PodVmm,
  { key, exitStatus, signal }: Child,
): Promise<void> {
  const lost = HELPERS[key];
  if (lost === undefined || pod.document.machine?.state !== "running") return;
  if ((await vmm.child())?.running !== true) return;
  pod.log.error({ exitStatus, signal }, lost);
  if (key === PASST_KEY) await revivePasst(pod, vmm.machine);
}
