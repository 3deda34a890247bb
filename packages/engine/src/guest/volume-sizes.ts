import { lchown, rm } from "node:fs/promises";
import { createOverlay } from "@trine/disk-images";
import { deviceBytes } from "../device-bytes.ts";
import type { PodContext } from "../pod-context.ts";
import { SizeWatch } from "../size-watch.ts";
import type { PodGuest } from "./pod-guest.ts";
import { SLOT_MS, slotOverlay } from "./slots.ts";
import type { VolumeRecord } from "./volume-record.ts";

/** Tells a guest of block volumes that have grown, for as long as it has any. */
export class VolumeSizes extends SizeWatch<VolumeRecord> {
  constructor(pod: PodContext, guest: PodGuest) {
    super({
      what: () => volumesOf(pod, guest),
      name: ({ slot }) => slot,
      look: (volume) => tell(pod, guest, volume),
      log: pod.log,
    });
  }
}

async function tell(pod: PodContext, guest: PodGuest, volume: VolumeRecord): Promise<void> {
  const bytes = await deviceBytes(volume);
  const { machine } = guest.vmm;
  // Gone meanwhile, or the device is: what has become smaller is not a volume that was grown.
  if (machine === undefined || bytes <= volume.bytes) return;
  const signal = AbortSignal.timeout(SLOT_MS);
  if (!volume.readOnly) await machine.resizeSlot(volume.slot, bytes, signal);
  else {
    await withOverlay(pod, volume, bytes, (overlay) =>
      machine.resizeSlot(volume.slot, bytes, signal, overlay),
    );
  }
  pod.log.info({ slot: volume.slot, from: volume.bytes, to: bytes }, "a volume has grown");
  volume.bytes = bytes;
  await pod.save();
}

/** What a crash leaves of it goes with the slot. */
async function withOverlay(
  { files, document }: PodContext,
  { slot }: VolumeRecord,
  bytes: number,
  act: (overlay: string) => Promise<void>,
): Promise<void> {
  const overlay = slotOverlay(files.slotsDir, slot);
  const uid = document.guest?.uid ?? 0;
  await rm(overlay, { force: true }); // an earlier one's, whose daemon died
  try {
    await createOverlay(overlay, { virtualSizeBytes: bytes, sync: false });
    await lchown(overlay, uid, uid);
    await act(overlay);
  } finally {
    await rm(overlay, { force: true });
  }
}

function volumesOf({ document }: PodContext, { vmm }: PodGuest): VolumeRecord[] {
  if (vmm.machine === undefined) return [];
  const containers = Object.values(document.guest?.containers ?? {});
  return containers.flatMap((each) => each?.volumes ?? []);
}
