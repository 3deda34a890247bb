import { join } from "node:path";
import type { Undo } from "@trine/base";
import type { AgentClient } from "@trine/guest-link";
import type { Machine } from "@trine/vmm";
import { readBundle } from "../bundle.ts";
import { planShare } from "./container-share.ts";
import { agentDevices, chooseVolumes, fillVolumes } from "./block-volumes.ts";
import { chooseRoot, fillRoot } from "./disk-root.ts";
import { specLimits } from "../container-limits.ts";
import { guestSpec } from "./guest-spec.ts";
import type { PodContext } from "../pod-context.ts";
import type { ContainerRecord, GuestRecord } from "../pod-document.ts";
import { containerNameOf } from "../pod-identity.ts";
import type { CreateTask } from "../requests.ts";
import { mountShare, unmountShare } from "../share-mounts.ts";
import type { VolumeRecord } from "./volume-record.ts";
import { processLimits } from "./process-limits.ts";
import { processesOf } from "./seen-processes.ts";
import { emptySlots } from "./slots.ts";

/**
 * Makes a container in the pod's guest: its root on disks or, like its volumes, below the share, block volumes as
 * disks, then the container itself, and its stdio joined to the task. Repeatable, also half done; `undo` takes it back. `agent` is asked for only
 * when the share is ready: the guest boots meanwhile.
 */
export async function createContainer(
  pod: PodContext,
  to: { guest: GuestRecord; machine: Machine; agent: () => Promise<AgentClient> },
  task: CreateTask,
  undo: Undo,
): Promise<void> {
  const { shim, identity, facts } = pod;
  const { guest, machine } = to;
  const bundle = await readBundle(task.bundle);
  const { spec, mounts, volumes } = guestSpec(bundle.spec, {
    id: task.id,
    sandboxId: identity.sandboxId,
    limits: await processLimits(pod.files.limits, facts.pid),
    pidsOf: await processesOf(pod, guest, { id: task.id, spec: bundle.spec }),
  });
  const dir = shareOf(pod, task.id);
  const booted = (): Promise<unknown> => to.agent().catch(() => undefined); // seen below again
  const disks = await chooseVolumes(guest, task.id, volumes);
  const root = await chooseRoot(pod, { guest, booted, volumes: disks }, task);
  const planned = await planShare(dir, { task, bundle, onDisks: root !== undefined }, mounts);
  const record: ContainerRecord = {
    name: containerNameOf(bundle) ?? task.id,
    ...(root === undefined ? {} : { root }),
    ...(disks.length === 0 ? {} : { volumes: disks }),
    mounts: planned.map(({ target, kind }) => ({ target, kind })),
    limits: specLimits(bundle.spec),
    state: "creating",
  };
  guest.containers[task.id] = record;
  keepForVolumes(guest, disks);
  let busy: readonly string[] = [];
  undo.defer("unmount the container", async () => {
    await emptySlots(pod, { guest, machine, busy }, task.id);
    await unmountShare(shim, dir, record.mounts);
    await forget(pod, guest, task.id); // not before: what is still mounted must not be forgotten
  });
  await pod.save();
  await mountShare(shim, planned);
  await fillVolumes(pod, machine, disks);
  if (root !== undefined) await fillRoot(pod, machine, root);

  const agent = await to.agent();
  undo.defer("remove the container from the guest", async () => {
    busy = await agent.removeContainer(task.id);
  });
  await agent.createContainer({
    container: task.id,
    spec: new TextEncoder().encode(JSON.stringify(spec)),
    terminal: task.terminal,
    stdin: task.stdin,
    ...(root === undefined ? {} : { root: { lower: root.lower, upper: root.upper } }),
    devices: agentDevices(volumes, disks),
  });
  await shim.attachGuest({
    id: task.id,
    guestContainer: task.id,
    terminal: task.terminal,
  });
  record.state = "created";
  await pod.save();
}

/** Takes a container apart; `agent` is undefined when its guest has ended. Repeatable. */
export async function removeContainer(
  pod: PodContext,
  from: { guest: GuestRecord; machine: Machine | undefined; agent: AgentClient | undefined },
  id: string,
): Promise<void> {
  const record = from.guest.containers[id];
  if (record === undefined) return;
  const busy = (await from.agent?.removeContainer(id)) ?? [];
  await emptySlots(pod, { ...from, busy }, id);
  await unmountShare(pod.shim, shareOf(pod, id), record.mounts);
  await forget(pod, from.guest, id);
}

function shareOf(pod: PodContext, id: string): string {
  return join(pod.files.shareDir, id);
}

/** The guest keeps a volume's size for a slot when the volume has gone: only another volume, whose size it is told, fits. */
function keepForVolumes(guest: GuestRecord, volumes: readonly VolumeRecord[]): void {
  if (volumes.length === 0) return;
  const slots = new Set([...(guest.volumeSlots ?? []), ...volumes.map(({ slot }) => slot)]);
  guest.volumeSlots = [...slots];
}

async function forget(pod: PodContext, guest: GuestRecord, id: string): Promise<void> {
  // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- a document field by its id
  delete guest.containers[id];
  await pod.save();
}
