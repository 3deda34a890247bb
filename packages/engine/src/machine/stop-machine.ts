import type { Logger } from "pino";
import { TrineError, messageOf, sleep } from "@trine/base";
import type { Machine } from "@trine/vmm";

/** Signals that ask a process to end: for a machine, the power button. */
const STOP_SIGNALS = new Set([1, 2, 3, 15, 37]); // HUP INT QUIT TERM RTMIN+3 (systemd's halt)

/** Kind `invalid` for a signal that no machine knows. */
export function requireStopSignal(signal: number): void {
  if (STOP_SIGNALS.has(signal)) return;
  const what = `signal ${signal} means nothing to a machine`;
  throw new TrineError("invalid", `${what}: TERM (the power button) and KILL do`);
}

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
