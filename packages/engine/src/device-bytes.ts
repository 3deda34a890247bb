import { readFile } from "node:fs/promises";
import { TrineError } from "@trine/base";

/** Of /sys/dev/block, whatever the device's own are. */
const SECTOR_BYTES = 512;

/** Size of a block device of the node, by its number. Kind `notFound` when the node has none. */
export async function deviceBytes({
  major,
  minor,
}: {
  readonly major: number;
  readonly minor: number;
}): Promise<number> {
  const path = `/sys/dev/block/${major}:${minor}/size`;
  try {
    return Number.parseInt(await readFile(path, "utf8"), 10) * SECTOR_BYTES;
  } catch (cause) {
    const what = `block device ${major}:${minor} is not on this node`;
    throw new TrineError("notFound", what, { cause });
  }
}

/** Number of the device behind a node, as stat(2) has it in `rdev` (makedev(3), 12 bits of major and 20 of minor). */
export function deviceNumber({ rdev }: { readonly rdev: number }): {
  major: number;
  minor: number;
} {
  return { major: (rdev >>> 8) & 0xfff, minor: (rdev & 0xff) | ((rdev >>> 12) & 0xf_ff00) };
}
