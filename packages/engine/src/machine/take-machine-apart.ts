import { TPM_KEY, VMM_KEY } from "@trine/vmm";
import { endChild } from "../end-child.ts";
import { releaseUid } from "../noted-uid.ts";
import type { PodContext } from "../pod-context.ts";
import type { MachineRecord } from "../pod-document.ts";
import { removeMachineFiles } from "../pod-files.ts";
import { unmountDisks } from "./disk-volumes.ts";
import { PASST_KEY } from "./machine-passt.ts";
import { removeShares } from "./machine-shares.ts";

/** Takes back all that a machine had of the node. Its VMM has ended. Repeatable. */
export async function takeMachineApart(
  { shim, files, deps, key }: PodContext,
  record: MachineRecord,
): Promise<void> {
  await shim.reap(VMM_KEY);
  if (record.spec.hardware?.tpm !== undefined) await endChild(shim, TPM_KEY);
  if (record.passt !== undefined) await endChild(shim, PASST_KEY);
  const { shares, fileSystems } = record.spec;
  if (shares !== undefined || fileSystems !== undefined) await removeShares(shim, files);
  await unmountDisks(shim, files.podDir);
  await shim.unmount(`${record.bundle}/rootfs`);
  await removeMachineFiles(files);
  await releaseUid(deps.uids, key, files.podDir);
}
