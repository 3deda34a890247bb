import type { Child } from "@trine/proto/shim";
import { TPM_KEY } from "@trine/vmm";
import type { PodContext } from "../pod-context.ts";
import type { PodVmm } from "../pod-vmm.ts";
import { PASST_KEY } from "./machine-passt.ts";
import { SHARES_KEY } from "./machine-shares.ts";
import type { MachineState } from "./machine-state.ts";
import type { PasstRevival } from "./passt-revival.ts";

/** What the end of one of the machine's other processes means. */
const HELPERS: Readonly<Record<string, string>> = {
  [TPM_KEY]: "the machine's TPM has ended: its guest has none",
  [SHARES_KEY]:
    "what serves the machine's volumes has ended: its guest has none of them until it starts anew",
  [PASST_KEY]: "passt has ended: the machine's connections are lost, and it is started again",
};

const RUNNING: readonly MachineState[] = ["running"];
/** A machine that goes on, or shuts down, needs its network as before. */
const CARRIED: readonly MachineState[] = ["running", "paused", "stopping"];

/** Those end with the VMM; alone only by a fault or by hand, and what they do for the guest has ended. */
export async function lostHelper(
  pod: PodContext,
  { vmm, passt }: { readonly vmm: PodVmm; readonly passt: PasstRevival | undefined },
  { key, exitStatus, signal }: Child,
): Promise<void> {
  const lost = HELPERS[key];
  const state = pod.document.machine?.state;
  const needed = key === PASST_KEY ? CARRIED : RUNNING;
  if (lost === undefined || state === undefined || !needed.includes(state)) return;
  if ((await vmm.child())?.running !== true) return;
  pod.log.error({ exitStatus, signal }, lost);
  if (key === PASST_KEY) passt?.revive();
}
