import { allDone, messageOf } from "@trine/base";
import type { Machine } from "@trine/vmm";
import { containerdOf } from "../containerd-of.ts";
import type { DiskRoot } from "./disk-root-record.ts";
import type { PodContext } from "../pod-context.ts";
import type { GuestRecord } from "../pod-document.ts";
import type { CreateTask } from "../requests.ts";
import { fillSlot, freeSlots, isReadOnly } from "./slots.ts";
import type { VolumeRecord } from "./volume-record.ts";

/**
 * Says where a container's root goes. Undefined = through the share: its image's file is not ready when the guest
 * is (`booted`), there will be none, or no slot is left. What an earlier attempt has decided holds.
 */
export async function chooseRoot(
  pod: PodContext,
  to: {
    readonly guest: GuestRecord;
    readonly booted: () => Promise<unknown>;
    /** The container's volumes: their slots are taken. */
    readonly volumes: readonly VolumeRecord[];
  },
  task: CreateTask,
): Promise<DiskRoot | undefined> {
  const { guest, booted, volumes } = to;
  const earlier = guest.containers[task.id];
  if (earlier !== undefined) return earlier.root;
  const { roots } = pod.deps;
  if (roots === undefined || guest.spec.slots === undefined) return undefined;
  try {
    const containerd = await containerdOf(pod);
    const { namespace } = pod.identity;
    const source = { containerd, namespace, id: task.id, mounts: task.rootfs };
    let answer = await roots.find(source);
    if (answer.kind === "building") {
      await Promise.race([answer.ended, booted()]);
      answer = await roots.find(source);
    }
    if (answer.kind !== "ready") {
      const why = answer.kind === "building" ? "its image's file is being made" : answer.why;
      pod.log.info({ container: task.id, why }, "the container's root goes through the share");
      return undefined;
    }
    const slots = slotsFor(guest, answer.image, volumes);
    if (slots === undefined) {
      pod.log.warn({ container: task.id }, "no slot is left: the root goes through the share");
      return undefined;
    }
    const layer = await roots.placeLayer(answer.upperDir, guest.uid);
    if (layer === undefined) {
      const why = "it has written without a disk before";
      pod.log.info({ container: task.id, why }, "the container's root goes through the share");
      return undefined;
    }
    return { image: answer.image, layer, ...slots };
  } catch (cause) {
    pod.log.warn({ container: task.id, err: messageOf(cause) }, "the root goes through the share");
    return undefined;
  }
}

/** A slot that holds the image or can, and one for what is written. Where a volume was the guest expects its size. */
function slotsFor(
  guest: GuestRecord,
  image: string,
  taken: readonly VolumeRecord[],
): Pick<DiskRoot, "lower" | "upper"> | undefined {
  const roots = Object.values(guest.containers).flatMap((each) => each?.root ?? []);
  const volumes = new Set([...(guest.volumeSlots ?? []), ...taken.map(({ slot }) => slot)]);
  const free = freeSlots(guest).filter((name) => !volumes.has(name));
  const same = roots.find((root) => root.image === image)?.lower;
  const lower = same ?? free.find(isReadOnly);
  const upper = free.find((name) => !isReadOnly(name));
  return lower === undefined || upper === undefined ? undefined : { lower, upper };
}

/** Fills the slots of a root, both at once. Repeatable. */
export async function fillRoot(pod: PodContext, machine: Machine, root: DiskRoot): Promise<void> {
  await allDone([
    fillSlot(pod, machine, root.lower, { bind: { source: root.image, readOnly: true } }),
    fillSlot(pod, machine, root.upper, { bind: { source: root.layer, readOnly: false } }),
  ]);
}
