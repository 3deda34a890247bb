import { readFile } from "node:fs/promises";
import { TICKS_PER_SECOND, processorTicks } from "@trine/base";
import type { MachineStats } from "@trine/vmm";
import type { GuestUsage } from "./machine/guest-usage.ts";
import { MACVTAP } from "./tap.ts";

/** A machine's use of the node: what the guest says, what crosses its taps, and what the host pays. */
export interface MachineFigures {
  readonly guest: MachineStats;
  /** From the guest's side, all its NICs: received = sent to a tap. Undefined without a network. */
  readonly network: NetworkFigures | undefined;
  /** What the guest's agent said last; undefined where there is none, or nobody asks it. */
  readonly usage?: GuestUsage;
  readonly host: {
    /** Resident bytes of the processes that keep the machine. */
    readonly vmmBytes: number;
    readonly shimBytes: number;
    /** Seconds of the VMM's process with all of its threads; undefined when it has just ended. */
    readonly cpu?: { readonly userSeconds: number; readonly systemSeconds: number };
  };
}

/** One way, from the guest's side. */
interface Traffic {
  readonly bytes: number;
  readonly packets: number;
  readonly errors: number;
  readonly drops: number;
}

interface NetworkFigures {
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Of each NIC, by its tap. */
  readonly links: readonly {
    readonly name: string;
    readonly received: Traffic;
    readonly sent: Traffic;
  }[];
}

/** Reads what the host knows of a machine. The shim is in the pod's network namespace: so is its /proc view. */
export async function hostFigures(pids: {
  readonly vmm: number;
  readonly shim: number;
  readonly taps: readonly string[];
}): Promise<Omit<MachineFigures, "guest">> {
  const [vmmBytes, shimBytes, cpu, network] = await Promise.all([
    residentBytes(pids.vmm),
    residentBytes(pids.shim),
    processorTime(pids.vmm),
    tapFigures(pids.shim, pids.taps),
  ]);
  return { host: { vmmBytes, shimBytes, ...(cpu === undefined ? {} : { cpu }) }, network };
}

async function processorTime(pid: number): Promise<MachineFigures["host"]["cpu"]> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const ticks = processorTicks(stat);
  if (ticks === undefined) return undefined;
  const { user, system } = ticks;
  return { userSeconds: user / TICKS_PER_SECOND, systemSeconds: system / TICKS_PER_SECOND };
}

/** 0 for a process that has just ended. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

/** Columns of /proc/net/dev: bytes, packets, errors and drops that were received are the first, transmitted the ninth. */
async function tapFigures(
  pid: number,
  taps: readonly string[],
): Promise<NetworkFigures | undefined> {
  return readLinks(await readFile(`/proc/${pid}/net/dev`, "utf8").catch(() => ""), taps);
}

export function readLinks(table: string, taps: readonly string[]): NetworkFigures | undefined {
  const links = table.split("\n").flatMap((line) => {
    const [word = "", columns = ""] = line.split(":", 2);
    const name = word.trim();
    if (!taps.includes(name)) return [];
    const fields = columns.trim().split(/\s+/).map(Number);
    const [received, sent] = [trafficAt(fields, 0), trafficAt(fields, 8)];
    // What a tap receives the guest has sent; a macvtap is the guest's own.
    return [
      name.startsWith(MACVTAP)
        ? { name, received, sent }
        : { name, received: sent, sent: received },
    ];
  });
  if (links.length === 0) return undefined;
  const sum = (way: "received" | "sent"): number =>
    links.reduce((total, link) => total + link[way].bytes, 0);
  return { sentBytes: sum("sent"), receivedBytes: sum("received"), links };
}

function trafficAt(fields: readonly number[], from: number): Traffic {
  const [bytes = 0, packets = 0, errors = 0, drops = 0] = fields.slice(from, from + 4);
  return { bytes, packets, errors, drops };
}
