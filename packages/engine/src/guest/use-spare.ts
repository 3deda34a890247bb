import { mkdir, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { MicrovmSettings } from "@trine/annotations";
import { errnoOf, messageOf } from "@trine/base";
import { VMM_KEY } from "@trine/vmm";
import { endChild } from "../end-child.ts";
import { releaseUid } from "../noted-uid.ts";
import type { PodContext } from "../pod-context.ts";
import { interfacesOf } from "../pod-document.ts";
import type { GuestRecord } from "../pod-document.ts";
import { SPARES, removeMachineFiles } from "../pod-files.ts";
import { removeSlots } from "./slots.ts";
import { FILE_SERVER_KEY, removeShare } from "./file-server.ts";
import { guestSize } from "./guest-size.ts";
import { setOomScore } from "./spare-identity.ts";
import type { SpareRecord } from "../pod-document.ts";

/**
 * A shim that was claimed for the pod: its user id and its console's files are the pod's from now on,
 * whether the pod comes to use its guest or not. Repeatable.
 */
export async function welcomeSpare(pod: PodContext, spare: SpareRecord): Promise<void> {
  const { deps, files } = pod;
  deps.uids.adopt(spare.guest.uid, pod.key);
  const made = join(deps.config.rootDir, SPARES, spare.name);
  await mkdir(dirname(files.diskDir), { recursive: true, mode: 0o700 });
  await rename(made, files.diskDir).catch((cause: unknown) => {
    if (errnoOf(cause) !== "ENOENT") throw cause; // done before
  });
}

/**
 * Makes the guest that the pod's shim has brought along the pod's own. Undefined when it has brought none, or
 * one that is of no use to this pod, which is ended then: the pod boots its own.
 */
export async function useSpare(
  pod: PodContext,
  settings: MicrovmSettings,
): Promise<GuestRecord | undefined> {
  const { document, deps, log } = pod;
  const { spare } = document;
  if (spare === undefined) {
    deps.spares.missed();
    return undefined;
  }
  const why = await misfit(pod, settings, spare);
  deps.spares.claimed(spare.name, why === undefined);
  if (why !== undefined) {
    log.warn({ spare: spare.name, why }, "the pod boots its own guest");
    await endSpare(pod);
    return undefined;
  }
  const oomScoreAdj = pod.sandbox.oomScoreAdj;
  const { vmmPid } = spare.guest;
  if (vmmPid !== undefined) {
    await setOomScore(vmmPid, oomScoreAdj).catch((cause: unknown) => {
      log.warn({ err: messageOf(cause) }, "the VMM keeps the node's order of killing");
    });
  }
  const { slots } = spare.guest.spec;
  // The VMM has the directory under a name of its own; only the host's has changed.
  const moved = slots === undefined ? {} : { slots: { ...slots, dir: pod.files.slotsDir } };
  const spec = { ...spare.guest.spec, ...moved };
  return { ...spare.guest, spec, oomScoreAdj, start: { how: "spare" }, containers: {} };
}

/** Ends what came with the shim. Repeatable, also half done. */
export async function endSpare(pod: PodContext): Promise<void> {
  const { shim, document, files, deps } = pod;
  await endChild(shim, VMM_KEY);
  await endChild(shim, FILE_SERVER_KEY);
  await removeSlots(pod, document.spare?.guest);
  await removeShare(pod);
  await removeMachineFiles(files);
  await releaseUid(deps.uids, pod.key, files.podDir);
  delete document.spare;
  await pod.save();
}

/** Why the guest is of no use to the pod. `start` has looked at the pod's size before; what it knows may be old. */
async function misfit(
  { deps, sandbox, facts, shim, document }: PodContext,
  settings: MicrovmSettings,
  { key, guest }: SpareRecord,
): Promise<string | undefined> {
  const { children } = await shim.describe();
  const isThere = (name: string): boolean =>
    children.some((each) => each.key === name && each.running);
  if (!isThere(VMM_KEY) || !isThere(FILE_SERVER_KEY)) return "it has ended";
  const size = await guestSize(settings, sandbox, {
    ...deps.config.microvms,
    cgroups: facts.cgroups,
  });
  const { cpus, memoryBytes, nics } = { ...guest.spec, ...guest.size };
  if (size.cpus !== cpus || size.memoryBytes !== memoryBytes) return "it is of another size";
  const interfaces = interfacesOf(document);
  if (interfaces.length > nics.length) return `it has ${nics.length} network interfaces`;
  const mtu = interfaces[0]?.mtu ?? 0;
  if (nics.some((nic) => nic.mtu < mtu)) return `its network carries less than ${mtu} bytes`;
  return (await deps.spares.keyOf(size)) === key
    ? undefined
    : "it is of another kernel, agent or VMM";
}
