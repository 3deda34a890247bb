import { TrineError } from "@trine/base";
import type { Machine, SlotName } from "@trine/vmm";
import { deviceBytes } from "../device-bytes.ts";
import type { PodContext } from "../pod-context.ts";
import type { GuestRecord } from "../pod-document.ts";
import type { BlockVolume } from "../block-device.ts";
import { SLOT_MS, fillSlot, freeSlots, isReadOnly } from "./slots.ts";
import type { VolumeRecord } from "./volume-record.ts";

/**
 * Slots of the guest for a container's block volumes. A device that another container of the pod has is that one's
 * slot: one guest has it once. Kind `exhausted` when there are too few, `conflict` for one that another container has
 * where it cannot be written. What an earlier attempt has decided holds.
 */
export async function chooseVolumes(
  guest: GuestRecord,
  id: string,
  volumes: readonly BlockVolume[],
): Promise<readonly VolumeRecord[]> {
  const earlier = guest.containers[id];
  if (earlier !== undefined) return earlier.volumes ?? [];
  const chosen: VolumeRecord[] = [];
  // From the end: roots, which may not have what was a volume's, are taken from the beginning.
  const free = freeSlots(guest).reverse();
  const before = new Set(guest.volumeSlots);
  free.sort((a, b) => Number(before.has(b)) - Number(before.has(a)));
  const inPod = Object.values(guest.containers).flatMap((each) => each?.volumes ?? []);
  for (const volume of volumes) {
    if (volumeOf(chosen, volume) !== undefined) continue;
    const there = volumeOf(inPod, volume);
    const slot = free.find((name) => isReadOnly(name) === volume.readOnly);
    if (there !== undefined) chosen.push(there);
    else if (isRead(guest, volume)) throw readElsewhere(volume);
    else if (slot === undefined) throw tooMany(volume);
    else {
      free.splice(free.indexOf(slot), 1);
      const { major, minor, readOnly } = volume;
      chosen.push({ slot, major, minor, readOnly, bytes: await deviceBytes({ major, minor }) });
    }
  }
  return chosen;
}

/** The slot a volume is in: who only reads may do that where another of the pod writes. */
function volumeOf(
  records: readonly VolumeRecord[],
  { major, minor, readOnly }: Pick<BlockVolume, "major" | "minor" | "readOnly">,
): VolumeRecord | undefined {
  const same = records.filter((each) => each.major === major && each.minor === minor);
  const writable = same.find((each) => !each.readOnly);
  return writable ?? (readOnly ? same[0] : undefined);
}

/** Whether a container that has not ended has the device on a disk, which keeps what it has read of it. */
function isRead(guest: GuestRecord, { major, minor }: BlockVolume): boolean {
  return Object.values(guest.containers).some(
    (each) =>
      each?.state !== "ended" &&
      each?.volumes?.some((of) => of.major === major && of.minor === minor) === true,
  );
}

/** Puts the volumes into their slots. Repeatable. */
export async function fillVolumes(
  pod: PodContext,
  machine: Machine,
  volumes: readonly VolumeRecord[],
): Promise<void> {
  for (const { slot, major, minor, readOnly, bytes } of volumes) {
    const uid = pod.document.guest?.uid ?? 0;
    await fillSlot(pod, machine, slot, { device: { major, minor, readOnly, uid } });
    if (!readOnly) await machine.resizeSlot(slot, bytes, AbortSignal.timeout(SLOT_MS));
  }
}

/** What the agent is to make of them in the container. */
export function agentDevices(
  volumes: readonly BlockVolume[],
  records: readonly VolumeRecord[],
): { serial: SlotName; path: string; sizeBytes: bigint; access: string }[] {
  return volumes.map((volume) => {
    const found = volumeOf(records, volume);
    if (found === undefined) {
      throw new TrineError("internal", `block device ${volume.path} has no slot`);
    }
    const { path, mode, uid, gid, access } = volume;
    return { serial: found.slot, path, mode, uid, gid, sizeBytes: BigInt(found.bytes), access };
  });
}

function readElsewhere({ path }: BlockVolume): TrineError {
  return new TrineError(
    "conflict",
    `block device ${path}: another container of the pod reads it on a disk that cannot be written, and would not ` +
      "see what is written; start the one that writes first, or let both write",
  );
}

function tooMany({ path, readOnly }: BlockVolume): TrineError {
  const kind = readOnly ? "read-only" : "writable";
  return new TrineError(
    "exhausted",
    `block device ${path}: all disks of the microVM that are ${kind} are in use; put fewer block volumes or ` +
      "containers into the pod",
  );
}
