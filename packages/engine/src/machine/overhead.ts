import { readFile } from "node:fs/promises";

/** A mapping's first line in smaps (proc(5)) begins with its range of addresses; others with a field's name. */
const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+) *(.*)$/;
/** Files that are memory. */
const IN_MEMORY = /^(\/memfd:|\/dev\/|\/SYSV)/;

/**
 * What processes hold of the node's memory, less the guest's own: the mappings that are as large as what the guest was given.
 * What is shared counts once (proportional); of files only what was changed, for the rest is the node's cache, which it
 * takes back when it needs it. Bytes. One that has just ended holds nothing.
 */
export async function overheadOf(pids: readonly number[], guestBytes: number): Promise<number> {
  const each = pids.map(async (pid) => {
    const smaps = await readFile(`/proc/${pid}/smaps`, "utf8").catch(() => "");
    return heldBeside(smaps, guestBytes);
  });
  return (await Promise.all(each)).reduce((sum, bytes) => sum + bytes, 0);
}

/** What is held in the mappings smaller than `guestBytes`. Pure. */
export function heldBeside(smaps: string, guestBytes: number): number {
  let counted: "Pss:" | "Anonymous:" | undefined;
  let bytes = 0;
  for (const line of smaps.split("\n")) {
    const [, from, to, inode, path = ""] = MAPPING.exec(line) ?? [];
    if (from !== undefined && to !== undefined) {
      const isGuests = BigInt(`0x${to}`) - BigInt(`0x${from}`) >= BigInt(guestBytes);
      const isFile = inode !== "0" && !IN_MEMORY.test(path);
      counted = isGuests ? undefined : isFile ? "Anonymous:" : "Pss:";
    } else if (counted !== undefined && line.startsWith(counted)) {
      bytes += Number(/(\d+) kB/.exec(line)?.[1] ?? 0) * 1024;
    }
  }
  return bytes;
}
