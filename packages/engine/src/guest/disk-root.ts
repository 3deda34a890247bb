import { readFile, rmdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { TrineError, errnoOf, messageOf } from "@trine/base";
import { slotNames } from "@trine/vmm";
import type { Machine, SlotName } from "@trine/vmm";
import type { DiskRoot } from "./disk-root-record.ts";
import type { PodContext } from "../pod-context.ts";
import type { GuestRecord } from "../pod-document.ts";
import type { CreateTask } from "../requests.ts";

const SLOT_MS = 20_000;

/**
 * Says where a container's root goes. Undefined = through the share: its image's file is not ready when the guest
 * is (`booted`), there will be none, or no slot is left. What an earlier attempt has decided holds.
 */
export async function chooseRoot(
  pod: PodContext,
  to: { readonly guest: GuestRecord; readonly booted: () => Promise<unknown> },
  task: CreateTask,
): Promise<DiskRoot | undefined> {
  const { guest, booted } = to;
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
    const slots = freeSlots(guest, answer.image);
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

/** A slot that holds the image or can, and one for what is written. */
function freeSlots(
  guest: GuestRecord,
  image: string,
): Pick<DiskRoot, "lower" | "upper"> | undefined {
  const roots = Object.values(guest.containers).flatMap((each) => each?.root ?? []);
  const used = new Set([...usedSlots(guest), ...(guest.lostSlots ?? [])]);
  const free = slotNames(guest.spec.slots).filter((name) => !used.has(name));
  const same = roots.find((root) => root.image === image)?.lower;
  const lower = same ?? free.find((name) => name.startsWith("slot-ro-"));
  const upper = free.find((name) => name.startsWith("slot-rw-"));
  return lower === undefined || upper === undefined ? undefined : { lower, upper };
}

function usedSlots(guest: GuestRecord): SlotName[] {
  const containers = Object.values(guest.containers);
  return containers.flatMap((each) => (each?.root ? [each.root.lower, each.root.upper] : []));
}

/** Fills the slots of a root. Repeatable. */
export async function fillRoot(pod: PodContext, machine: Machine, root: DiskRoot): Promise<void> {
  await fill(pod, machine, { name: root.lower, source: root.image });
  await fill(pod, machine, { name: root.upper, source: root.layer });
}

async function fill(
  { shim, files, document }: PodContext,
  machine: Machine,
  { name, source }: { name: SlotName; source: string },
): Promise<void> {
  const readOnly = name.startsWith("slot-ro-");
  await shim.mount({ target: join(files.slotsDir, name), bind: { source, readOnly } });
  // As the machine was told: a spare's directory has moved since.
  const path = join(document.guest?.spec.slots?.dir ?? files.slotsDir, name);
  const image = { path, format: "raw", readOnly } as const;
  await machine.fillSlot(name, image, AbortSignal.timeout(SLOT_MS));
}

/**
 * Empties the slots of a container that is gone from the guest, and is still in the guest's record. `busy`: what
 * something in the guest still holds stays as it is until the pod ends, and its slot is not used again. Repeatable.
 */
export async function emptyRoot(
  pod: PodContext,
  from: { guest: GuestRecord; machine: Machine | undefined; busy: readonly string[] },
  id: string,
): Promise<void> {
  const { guest, machine, busy } = from;
  const root = guest.containers[id]?.root;
  if (root === undefined) return;
  const others = Object.entries(guest.containers).filter(([other]) => other !== id);
  const shared = others.some(([, each]) => each?.root?.lower === root.lower);
  for (const name of shared ? [root.upper] : [root.upper, root.lower]) {
    if (machine !== undefined && busy.includes(name)) {
      guest.lostSlots = [...(guest.lostSlots ?? []), name];
      pod.log.warn({ container: id, slot: name }, "something in the guest holds a disk");
      continue;
    }
    await machine?.emptySlot(name, AbortSignal.timeout(SLOT_MS));
    await unmountSlot(pod, name);
  }
}

/** Makes the directory of the slots ready for the VMM. Repeatable. */
export async function shareSlots({ shim, files }: PodContext): Promise<void> {
  await shim.mount({ target: files.slotsDir, shared: true });
}

/** Takes all slots apart whose VMM has ended. Repeatable. */
export async function removeSlots(pod: PodContext, guest: GuestRecord | undefined): Promise<void> {
  const { shim, files } = pod;
  for (const name of slotNames(guest?.spec.slots)) await unmountSlot(pod, name);
  await shim.unmount(files.slotsDir);
  await rmdir(files.slotsDir).catch(absent);
}

async function unmountSlot({ shim, files }: PodContext, name: SlotName): Promise<void> {
  const path = join(files.slotsDir, name);
  await shim.unmount(path);
  await unlink(path).catch(absent);
}

function absent(cause: unknown): void {
  if (errnoOf(cause) !== "ENOENT") throw cause;
}

/** Socket of the containerd whose pod this is, as its shim has noted it; empty = another's, an older shim's. */
async function containerdOf({ files }: PodContext): Promise<string> {
  try {
    return (await readFile(files.containerd, "utf8")).trim().replace(/^unix:\/\//, "");
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return "";
    throw TrineError.during("read the address of the pod's containerd", cause);
  }
}
