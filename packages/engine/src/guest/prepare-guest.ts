import { parseMicrovmAnnotations } from "@trine/annotations";
import type { MicrovmSettings } from "@trine/annotations";
import type { Undo } from "@trine/base";
import type { MachineSpec } from "@trine/vmm";
import type { GuestImage } from "../deps.ts";
import { shareSlots } from "./slots.ts";
import { startFileServer } from "./file-server.ts";
import { guestMachine } from "./guest-machine.ts";
import { guestSize } from "./guest-size.ts";
import { refuseHostNamespaces } from "../host-namespaces.ts";
import type { PodContext } from "../pod-context.ts";
import type { GuestRecord } from "../pod-document.ts";
import { openLateTap, plannedInterfaces } from "./late-network.ts";
import { makeMachineDirs } from "../pod-files.ts";
import { uuidOf } from "../pod-identity.ts";
import { releaseUid, takeUid } from "../noted-uid.ts";
import { podSysctls } from "./pod-sysctls.ts";

/** The pod's settings; throws for a pod that no guest can honour, before anything of it is made. */
export function requireGuestPod(pod: PodContext): MicrovmSettings {
  refuseHostNamespaces(pod.sandbox, pod.identity.name);
  podSysctls(pod.sandbox);
  return parseMicrovmAnnotations(pod.sandbox.annotations);
}

/** Makes ready what the pod's VMM needs, and says what it is to be; `undo` takes it back. */
export async function prepareGuest(
  pod: PodContext,
  settings: MicrovmSettings,
  undo: Undo,
): Promise<GuestRecord> {
  const { deps, facts, sandbox, files } = pod;
  const size = await guestSize(settings, sandbox, {
    ...deps.config.microvms,
    cgroups: facts.cgroups,
  });
  const image = await deps.guestImage();
  const uid = await takeUid(deps.uids, pod.key, files.podDir);
  undo.defer("release the user id", () => releaseUid(deps.uids, pod.key, files.podDir));
  await makeMachineDirs(files, uid);
  await startFileServer(pod);
  await shareSlots(pod);
  await openLateTap(pod);
  const { start, spec } = await deps.templates.startOf(specOf(pod, size, image));
  pod.log.info(start, "how the guest starts");
  return {
    // The sandbox outlives its VMM by what is still to be said of its containers.
    taskId: "",
    uid,
    oomScoreAdj: sandbox.oomScoreAdj,
    spec,
    size,
    start,
    state: "preparing",
    containers: {},
  };
}

function specOf(
  pod: PodContext,
  size: { cpus: number; memoryBytes: number },
  image: GuestImage,
): MachineSpec {
  const { identity, deps, files } = pod;
  const { namespace, uid, sandboxId } = identity;
  const own = {
    id: sandboxId,
    uuid: uuidOf(namespace, uid, sandboxId),
    slotsDir: files.slotsDir,
    interfaces: plannedInterfaces(pod),
  };
  return guestMachine(own, size, { image, accelerator: deps.config.accelerator });
}
