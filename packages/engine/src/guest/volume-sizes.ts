import { deviceBytes } from "../device-bytes.ts";
import type { PodContext } from "../pod-context.ts";
import { SizeWatch } from "../size-watch.ts";
import type { PodGuest } from "./pod-guest.ts";
import { SLOT_MS } from "./slots.ts";
import type { VolumeRecord } from "./volume-record.ts";

/** Tells a guest of block volumes that have grown, for as long as it has any that is written. */
export class VolumeSizes extends SizeWatch<VolumeRecord> {
  constructor(pod: PodContext, guest: PodGuest) {
    super({
      what: () => writtenVolumes(pod, guest),
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
  await machine.resizeSlot(volume.slot, bytes, AbortSignal.timeout(SLOT_MS));
  pod.log.info({ slot: volume.slot, from: volume.bytes, to: bytes }, "a volume has grown");
  volume.bytes = bytes;
  await pod.save();
}

function writtenVolumes({ document }: PodContext, { vmm }: PodGuest): VolumeRecord[] {
  if (vmm.machine === undefined) return [];
  const containers = Object.values(document.guest?.containers ?? {});
  const volumes = containers.flatMap((each) => each?.volumes ?? []);
  return volumes.filter(({ readOnly }) => !readOnly);
}
