import { readFile } from "node:fs/promises";

/** A mapping's first line in smaps (proc(5)) begins with its range of addresses; others with a field's name. */
const RANGE = /^([0-9a-f]+)-([0-9a-f]+) /;

/**
 * What processes hold of the node's memory (proportional, so that what is shared counts once), less the guest's own: the
 * mappings that are as large as what the guest was given. Bytes. One that has just ended holds nothing.
 */
export async function overheadOf(pids: readonly number[], guestBytes: number): Promise<number> {
  const each = pids.map(async (pid) => {
    const smaps = await readFile(`/proc/${pid}/smaps`, "utf8").catch(() => "");
    return heldBeside(smaps, guestBytes);
  });
  return (await Promise.all(each)).reduce((sum, bytes) => sum + bytes, 0);
}

/** Sum of Pss of the mappings smaller than `guestBytes`. Pure. */
export function heldBeside(smaps: string, guestBytes: number): number {
  let isGuests = false;
  let bytes = 0;
  for (const line of smaps.split("\n")) {
    const [, from, to] = RANGE.exec(line) ?? [];
    if (from !== undefined && to !== undefined) {
      isGuests = BigInt(`0x${to}`) - BigInt(`0x${from}`) >= BigInt(guestBytes);
    } else if (!isGuests && line.startsWith("Pss:")) {
      bytes += Number(/(\d+) kB/.exec(line)?.[1] ?? 0) * 1024;
    }
  }
  return bytes;
}
