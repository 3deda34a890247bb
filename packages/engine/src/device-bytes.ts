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
