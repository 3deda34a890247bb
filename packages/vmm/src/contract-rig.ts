import { pollUntil, withDeadline } from "@trine/base";
import type { MachineDriver, MachineEvent } from "./machine-driver.ts";
import type { MachineSpec } from "./machine-spec.ts";
import type { ProcessHost } from "./process-host.ts";

export const DEADLINE_MS = 30_000;

/** One machine's surroundings for the contract: a host, a driver and a guest that obeys the power button. */
export interface MachineRig extends AsyncDisposable {
  readonly host: ProcessHost;
  readonly spec: MachineSpec;
  /** A machine that its VMM refuses, with `brokenLog` in its log. */
  readonly brokenSpec: MachineSpec;
  readonly brokenLog: string;
  /** A machine with 2 read-only slots and a writable one, a memory file, and room to grow to 2 CPUs and 128 MiB. */
  readonly lightSpec: MachineSpec;
  /** Two raw images in the directory of its slots. */
  readonly images: readonly [string, string];
  /** Where its template's state goes. */
  readonly statePath: string;
  /** A driver as a new daemon would make it: it knows nothing of the others. */
  driver(): MachineDriver;
  /** Resolves once the guest hears the power button. */
  guestReady(): Promise<void>;
  /** From now on the monitor of a new process never answers. */
  stall(): void;
  /** Processes of the host that run now. */
  running(): number;
  /** Resolves when the VMM has ended, with the exit status of its task. */
  ended(): Promise<{ readonly exitStatus: number }>;
}

export function signal(): AbortSignal {
  return AbortSignal.timeout(DEADLINE_MS);
}

export function ended(rig: MachineRig): Promise<{ readonly exitStatus: number }> {
  return withDeadline("end of the VMM", DEADLINE_MS, rig.ended());
}

export async function noneRunning(rig: MachineRig): Promise<void> {
  await pollUntil(
    "no process",
    { ms: DEADLINE_MS, everyMs: 5 },
    () => rig.running() === 0 || undefined,
  );
}

export async function take(events: AsyncIterable<MachineEvent>, count: number): Promise<string[]> {
  const seen: string[] = [];
  for await (const event of events) {
    seen.push(event.what);
    if (seen.length >= count) break;
  }
  return seen;
}
