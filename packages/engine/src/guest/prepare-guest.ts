import { parseMicrovmAnnotations } from "@trine/annotations";
import type { MicrovmSettings } from "@trine/annotations";
import type { Undo } from "@trine/base";
import type { MachineSpec } from "@trine/vmm";
import type { GuestImage } from "../deps.ts";
import { startFileServer } from "./file-server.ts";
import { guestSize } from "./guest-size.ts";
import { refuseHostNamespaces } from "../host-namespaces.ts";
import type { PodContext } from "../pod-context.ts";
import type { GuestRecord } from "../pod-document.ts";
import { makeMachineDirs } from "../pod-files.ts";
import { uuidOf } from "../pod-identity.ts";
import { TAP } from "../sandbox-network.ts";

/** The guest's last words on the machine's console: a kernel that panics with loglevel=0 says nothing. */
const CONSOLE = "8250.nr_uarts=1 console=ttyS0 loglevel=1";

/** The pod's settings; throws for a pod that no guest can honour, before anything of it is made. */
export function requireGuestPod(pod: PodContext): MicrovmSettings {
  refuseHostNamespaces(pod.sandbox, pod.identity.name);
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
  const uid = deps.uids.take(pod.key);
  undo.defer("release the user id", () => {
    deps.uids.release(pod.key);
    return Promise.resolve();
  });
  await makeMachineDirs(files, uid);
  await startFileServer(pod);
  return {
    // The sandbox outlives its VMM by what is still to be said of its containers.
    taskId: "",
    uid,
    oomScoreAdj: sandbox.oomScoreAdj,
    spec: guestMachine(pod, size, image),
    state: "preparing",
    containers: {},
  };
}

function guestMachine(
  pod: PodContext,
  size: { cpus: number; memoryBytes: number },
  image: GuestImage,
): MachineSpec {
  const { identity, document, deps } = pod;
  const { network } = document;
  return {
    id: identity.sandboxId,
    uuid: uuidOf(identity.namespace, identity.uid, identity.sandboxId),
    ...size,
    boot: {
      kind: "direct",
      kernel: image.kernel,
      initrd: image.initrd,
      cmdline: `${image.commandLine} ${CONSOLE}`,
    },
    guestLink: true,
    accelerator: deps.config.accelerator,
    disks: [],
    nics:
      network === undefined ? [] : [{ name: "eth0", tap: TAP, mac: network.mac, mtu: network.mtu }],
    display: false,
    guestAgent: false,
    console: "serial",
  };
}
