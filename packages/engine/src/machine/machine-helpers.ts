import type { Child } from "@trine/proto/shim";
import { TPM_KEY } from "@trine/vmm";
import type { PodContext } from "../pod-context.ts";
import type { PodVmm } from "../pod-vmm.ts";
import { isFileSystemServer } from "./file-systems.ts";
import { PASST_KEY } from "./machine-passt.ts";
import { SHARES_KEY } from "./machine-shares.ts";
import type { MachineState } from "./machine-state.ts";
import type { HelperRevival } from "./helper-revival.ts";

/** What the end of one of the machine's other processes means. */
const HELPERS: Readonly<Record<string, string>> = {
  [TPM_KEY]: "the machine's TPM has ended: its guest has none",
  [SHARES_KEY]: "what serves the machine's volumes has ended: its guest has none of them",
  [PASST_KEY]: "passt has ended: the machine's connections are lost",
};

const RUNNING: readonly MachineState[] = ["running"];
const LOST_FILE_SYSTEM =
  "what serves a volume of the machine's has ended: its guest has none of it";

/** A machine that goes on, or shuts down, needs its network and volumes as before. */
const CARRIED: readonly MachineState[] = ["running", "paused", "stopping"];

/** What is started again, by its key. */
export type Revivals = Readonly<Record<string, HelperRevival | undefined>>;

/** Those end with the VMM; alone only by a fault or by hand, and what they do for the guest has ended. */
export async function lostHelper(
  pod: PodContext,
  { vmm, revivals }: { readonly vmm: PodVmm; readonly revivals: Revivals },
  { key, exitStatus, signal }: Child,
): Promise<void> {
  const lost = isFileSystemServer(key) ? LOST_FILE_SYSTEM : HELPERS[key];
  const state = pod.document.machine?.state;
  const revival = revivals[key];
  const needed = revival === undefined ? RUNNING : CARRIED;
  if (lost === undefined || state === undefined || !needed.includes(state)) return;
  if ((await vmm.child())?.running !== true) return;
  const again = revival === undefined ? "" : ", and is started again";
  pod.log.error({ key, exitStatus, signal }, `${lost}${again}`);
  revival?.revive();
}
