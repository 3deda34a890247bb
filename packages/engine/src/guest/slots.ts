import { rmdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { errnoOf, kindOf, messageOf } from "@trine/base";
import type { MountRequestSchema } from "@trine/proto/shim";
import { slotNames } from "@trine/vmm";
import type { Machine, SlotImage, SlotName } from "@trine/vmm";
import type { PodContext } from "../pod-context.ts";
import type { ContainerRecord, GuestRecord } from "../pod-document.ts";

export const SLOT_MS = 20_000;

/** Slots a container may take: nobody has them, and nothing in the guest holds on to what was in them. */
export function freeSlots(guest: GuestRecord): SlotName[] {
  const containers = Object.values(guest.containers);
  const used = new Set(containers.flatMap((each) => (each ? slotsOf(each) : [])));
  for (const name of guest.lostSlots ?? []) used.add(name);
  return slotNames(guest.spec.slots).filter((name) => !used.has(name));
}

/** What `slotsOf` looks at. */
type InSlots = Pick<ContainerRecord, "root" | "volumes">;

/** The writable layer before the image below it. */
function slotsOf({ root, volumes = [] }: InSlots): SlotName[] {
  return [...volumes.map(({ slot }) => slot), ...(root ? [root.upper, root.lower] : [])];
}

/** Puts something of the host into a slot. Repeatable. */
export async function fillSlot(
  { shim, files, document }: PodContext,
  machine: Machine,
  name: SlotName,
  what: Pick<MessageInitShape<typeof MountRequestSchema>, "bind" | "device">,
): Promise<void> {
  await shim.mount({ target: join(files.slotsDir, name), ...what });
  // As the machine was told: a spare's directory has moved since.
  const path = join(document.guest?.spec.slots?.dir ?? files.slotsDir, name);
  const source: SlotImage["source"] = what.device === undefined ? "file" : "block-device";
  const image = { path, format: "raw", source, readOnly: isReadOnly(name) } as const;
  await machine.fillSlot(name, image, AbortSignal.timeout(SLOT_MS));
}

/** Where an overlay of a slot lies while the guest is told its size. */
export function slotOverlay(slotsDir: string, name: SlotName): string {
  return join(slotsDir, `${name}-overlay`);
}

export function isReadOnly(name: SlotName): boolean {
  return name.startsWith("slot-ro-");
}

/**
 * Empties the slots of a container that is gone from the guest, and is still in the guest's record. `busy`: what
 * something in the guest still holds, or the VMM cannot flush, stays as it is until the pod ends, and its slot is not
 * used again. Repeatable.
 */
export async function emptySlots(
  pod: PodContext,
  from: { guest: GuestRecord; machine: Machine | undefined; busy: readonly string[] },
  id: string,
): Promise<void> {
  const { guest, machine, busy } = from;
  const record = guest.containers[id];
  if (record === undefined) return;
  const others = Object.entries(guest.containers).filter(([other]) => other !== id);
  const shared = new Set(others.flatMap(([, each]) => (each ? slotsOf(each) : [])));
  for (const name of new Set(slotsOf(record))) {
    if (shared.has(name)) continue;
    const why = await heldBy(machine, busy, name);
    if (why === undefined) {
      await unmountSlot(pod, name);
      continue;
    }
    guest.lostSlots = [...(guest.lostSlots ?? []), name];
    pod.log.warn(
      { container: id, slot: name, why },
      "a disk stays with the guest until the pod ends",
    );
  }
}

/** Empties a slot; answers why it could not be. A disk that fails must not keep its container from being removed. */
async function heldBy(
  machine: Machine | undefined,
  busy: readonly string[],
  name: SlotName,
): Promise<string | undefined> {
  if (machine === undefined) return undefined;
  if (busy.includes(name)) return "something in the guest holds it";
  try {
    await machine.emptySlot(name, AbortSignal.timeout(SLOT_MS));
    return undefined;
  } catch (cause) {
    if (kindOf(cause) !== "wrongState") throw cause;
    return messageOf(cause);
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
  await unlink(slotOverlay(files.slotsDir, name)).catch(absent);
}

function absent(cause: unknown): void {
  if (errnoOf(cause) !== "ENOENT") throw cause;
}
