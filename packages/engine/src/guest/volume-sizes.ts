import { messageOf, sleep } from "@trine/base";
import { deviceBytes } from "../device-bytes.ts";
import type { PodContext } from "../pod-context.ts";
import type { PodGuest } from "./pod-guest.ts";
import { SLOT_MS } from "./slots.ts";
import type { VolumeRecord } from "./volume-record.ts";

/** A volume is grown under a pod that runs, and nobody says so to its runtime. */
const LOOK_EVERY_MS = 5_000;

/** Tells a guest of block volumes that have grown, for as long as it has any that is written. */
export class VolumeSizes {
  readonly #pod: PodContext;
  readonly #guest: PodGuest;
  #watching: AbortController | undefined;

  constructor(pod: PodContext, guest: PodGuest) {
    this.#pod = pod;
    this.#guest = guest;
  }

  /** From now on. Repeatable. */
  watch(): void {
    if (this.#watching !== undefined || this.#volumes().length === 0) return;
    const watching = new AbortController();
    this.#watching = watching;
    void this.#watch(watching.signal).finally(() => {
      if (this.#watching === watching) this.#watching = undefined;
    });
  }

  stop(): void {
    this.#watching?.abort();
    this.#watching = undefined;
  }

  async #watch(signal: AbortSignal): Promise<void> {
    let said = "";
    while (!signal.aborted && this.#volumes().length > 0) {
      for (const volume of this.#volumes()) {
        try {
          await this.#tell(volume);
        } catch (cause) {
          const why = messageOf(cause);
          if (why !== said) this.#pod.log.warn({ slot: volume.slot, err: why }, "a volume's size");
          said = why;
        }
      }
      await sleep(LOOK_EVERY_MS, signal).catch(() => undefined); // the end of the watch
    }
  }

  async #tell(volume: VolumeRecord): Promise<void> {
    const bytes = await deviceBytes(volume);
    const machine = this.#guest.vmm.machine;
    // Gone meanwhile, or the device is: what has become smaller is not a volume that was grown.
    if (machine === undefined || bytes <= volume.bytes) return;
    await machine.resizeSlot(volume.slot, bytes, AbortSignal.timeout(SLOT_MS));
    this.#pod.log.info({ slot: volume.slot, from: volume.bytes, to: bytes }, "a volume has grown");
    volume.bytes = bytes;
    await this.#pod.save();
  }

  #volumes(): VolumeRecord[] {
    if (this.#guest.vmm.machine === undefined) return [];
    const containers = Object.values(this.#pod.document.guest?.containers ?? {});
    const volumes = containers.flatMap((each) => each?.volumes ?? []);
    return volumes.filter(({ readOnly }) => !readOnly);
  }
}
