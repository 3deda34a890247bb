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
import { hostnameOf, podDns } from "./seed.ts";

/** Makes all ready that the machine of a container needs, and says what there is; `undo` takes it back. */
export async function prepareMachine(
  pod: PodContext,
  container: { task: CreateTask; bundle: Bundle; settings: MachineSettings },
  undo: Undo,
): Promise<MachineRecord> {
  const { task, bundle } = container;
  const { shim, deps, document, files, identity, facts } = pod;
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
  const input = { identity, ...container, ...network, files, uid, cgroups: facts.cgroups };
  const dns = await podDns(bundle.resolvConf);
  const passt = await machinePasst(pod, container.settings, dns);
  const spec = await createMachine({ shim, config: deps.config, uids: deps.uids, undo }, input);
  if (interfaces.length > 0) {
    await serveDhcp(pod, { hostname: hostnameOf(input), dns });
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
