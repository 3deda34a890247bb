import type { MachineSettings } from "@trine/annotations";
import type { Undo } from "@trine/base";
import type { Bundle } from "../bundle.ts";
import { createMachine } from "./create-machine.ts";
import { containersAtOf, guestInterfaces, guestLinks } from "../guest-side.ts";
import { machinePasst } from "./machine-passt.ts";
import { releaseUid, takeUid } from "../noted-uid.ts";
import type { PodContext } from "../pod-context.ts";
import type { MachineRecord } from "../pod-document.ts";
import { removeMachineFiles } from "../pod-files.ts";
import { containerNameOf } from "../pod-identity.ts";
import type { CreateTask } from "../requests.ts";
import { serveDhcp } from "../sandbox-network.ts";
import { podDns } from "./seed.ts";

/** Makes all ready that the machine of a container needs, and says what there is; `undo` takes it back. */
export async function prepareMachine(
  pod: PodContext,
  container: { task: CreateTask; bundle: Bundle; settings: MachineSettings },
  undo: Undo,
): Promise<MachineRecord> {
  const { task, bundle, settings } = container;
  const { shim, deps, document, files, identity, facts, sandbox } = pod;
  const uid = await takeUid(deps.uids, pod.key, files.podDir);
  undo.defer("release the user id", () => releaseUid(deps.uids, pod.key, files.podDir));
  undo.defer("remove the machine's files", () => removeMachineFiles(files));
  const interfaces = guestInterfaces(document);
  const { queues = 1 } = document;
  const containersAt = containersAtOf(document);
  const network = {
    ...{ interfaces, links: guestLinks(document), queues },
    ...(containersAt === undefined ? {} : { containersAt }),
  };
  // Containers of a pod have none of their own: it is said of the pod.
  const hostname = settings.hostname ?? bundle.hostname ?? sandbox.hostname ?? identity.name;
  const about = { identity, hostname, files, uid };
  const shimsOwn = { cgroups: facts.cgroups, shimFeatures: facts.features };
  const input = { ...about, ...shimsOwn, ...container, ...network };
  const dns = await podDns(bundle.resolvConf);
  const passt = await machinePasst(pod, settings, dns);
  const spec = await createMachine({ shim, config: deps.config, uids: deps.uids, undo }, input);
  if (interfaces.length > 0) {
    await serveDhcp(pod, { hostname, dns });
  }
  return {
    taskId: task.id,
    bundle: task.bundle,
    containerName: containerNameOf(bundle) ?? task.id,
    uid,
    oomScoreAdj: bundle.oomScoreAdj,
    spec,
    ...(passt === undefined ? {} : { passt }),
    state: "created",
    since: deps.now().toISOString(),
  };
}
