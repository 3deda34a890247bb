import { readFile } from "node:fs/promises";
import type { MachineStats } from "@trine/vmm";

/** A machine's use of the node: what the guest says, what crosses its tap, and what the host pays. */
export interface MachineFigures {
  readonly guest: MachineStats;
  /** From the guest's side: received = sent to the tap. Undefined without a network. */
  readonly network: NetworkFigures | undefined;
  /** Resident bytes of the processes that keep the machine. */
  readonly host: { readonly vmmBytes: number; readonly shimBytes: number };
}

interface NetworkFigures {
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

/** Reads what the host knows of a machine. The shim is in the pod's network namespace: so is its /proc view. */
export async function hostFigures(pids: {
  readonly vmm: number;
  readonly shim: number;
  readonly tap: string;
}): Promise<Omit<MachineFigures, "guest">> {
  const [vmmBytes, shimBytes, network] = await Promise.all([
    residentBytes(pids.vmm),
    residentBytes(pids.shim),
    tapFigures(pids.shim, pids.tap),
  ]);
  return { host: { vmmBytes, shimBytes }, network };
}

/** 0 for a process that has just ended. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

/** Columns of /proc/net/dev: received bytes are the first, transmitted the ninth. */
async function tapFigures(pid: number, tap: string): Promise<NetworkFigures | undefined> {
  const table = await readFile(`/proc/${pid}/net/dev`, "utf8").catch(() => "");
  const line = table.split("\n").find((each) => each.trimStart().startsWith(`${tap}:`));
  const columns = line
    ?.slice(line.indexOf(":") + 1)
    .trim()
    .split(/\s+/);
  if (columns === undefined) return undefined;
  return { sentBytes: Number(columns[0]), receivedBytes: Number(columns[8]) };
}
