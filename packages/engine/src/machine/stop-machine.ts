import type { Logger } from "pino";
import { messageOf, sleep } from "@trine/base";
import type { Machine } from "@trine/vmm";

/**
 * Presses the power button until `ended` aborts: guests miss it while they boot (decision 19). The
 * caller of stop ends the machine itself when its grace period is over.
 */
export async function pressPowerButton(
  machine: Machine,
  options: { everyMs: number; log: Logger },
  ended: AbortSignal,
): Promise<void> {
  const isOver = (): boolean => ended.aborted;
  while (!isOver()) {
    await machine.powerDown(ended).catch((cause: unknown) => {
      // A monitor that fails is tried again at the next turn.
      if (!isOver()) options.log.warn({ err: messageOf(cause) }, "power button failed");
    });
    await sleep(options.everyMs, ended).catch(() => undefined); // an abort is the machine's end
  }
}
