import { readFile } from "node:fs/promises";
import type { MachineStats } from "@trine/vmm";
import { MACVTAP } from "./tap.ts";

/** A machine's use of the node: what the guest says, what crosses its taps, and what the host pays. */
export interface MachineFigures {
  readonly guest: MachineStats;
  /** From the guest's side, all its NICs: received = sent to a tap. Undefined without a network. */
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
  readonly taps: readonly string[];
}): Promise<Omit<MachineFigures, "guest">> {
  const [vmmBytes, shimBytes, network] = await Promise.all([
    residentBytes(pids.vmm),
    residentBytes(pids.shim),
    tapFigures(pids.shim, pids.taps),
  ]);
  return { host: { vmmBytes, shimBytes }, network };
}

/** 0 for a process that has just ended. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

/** Columns of /proc/net/dev: received bytes are the first, transmitted the ninth. */
async function tapFigures(
  pid: number,
  taps: readonly string[],
): Promise<NetworkFigures | undefined> {
  const table = await readFile(`/proc/${pid}/net/dev`, "utf8").catch(() => "");
  const figures = table.split("\n").flatMap((line) => {
    const [name = "", columns = ""] = line.split(":", 2);
    if (!taps.includes(name.trim())) return [];
    const fields = columns.trim().split(/\s+/);
    const [received = "0", sent = "0"] = [fields[0], fields[8]];
    // What a tap receives the guest has sent; a macvtap is the guest's own.
    return [
      name.trim().startsWith(MACVTAP) ? { received, sent } : { received: sent, sent: received },
    ];
  });
  if (figures.length === 0) return undefined;
  const sum = (way: "received" | "sent"): number =>
    figures.reduce((total, figure) => total + Number(figure[way]), 0);
  return { sentBytes: sum("sent"), receivedBytes: sum("received") };
}
