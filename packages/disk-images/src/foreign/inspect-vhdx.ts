import { SECTOR_BYTES } from "../image-info.ts";
import { refuse } from "../qcow2-header.ts";
import { readWithin, toNumber } from "./byte-range.ts";
import type { ByteRange } from "./byte-range.ts";

// Facts from [MS-VHDX]; little endian, GUIDs as they lie in the file.
const REGION_TABLE_AT = 192 * 1024;
const TABLE_BYTES = 64 * 1024;
const MAX_REGIONS = 2047;
const MAX_ITEMS = 2047;
const MAX_METADATA_BYTES = 64 * 1024 * 1024;
const METADATA_REGION = "06a27c8b90479a4bb8fe575f050f886e";
const FILE_PARAMETERS = "3767a1ca36fa434db3b633f0aa44e76b";
const VIRTUAL_SIZE = "2442a52f1bcd7648b2115dbed83bf4b8";
const PARENT_LOCATOR = "2d5fd3a80bb34d45abf7d3d84834ab0c";
const HAS_PARENT = 2;

/** Virtual size of a VHDX that is whole in itself; kind `invalid` for others. */
export async function inspectVhdx(disk: ByteRange): Promise<number> {
  const region = await metadataRegion(disk);
  const table = await readWithin(disk, region.at, TABLE_BYTES, "the VHDX metadata");
  if (table.toString("latin1", 0, 8) !== "metadata") refuse("is corrupt: no VHDX metadata");
  const count = table.readUInt16LE(10);
  if (count > MAX_ITEMS) refuse(`is corrupt: ${count} VHDX metadata items`);
  const items = new Map<string, number>();
  for (let i = 0; i < count; i++) {
    const at = 32 + 32 * i;
    items.set(table.toString("hex", at, at + 16), table.readUInt32LE(at + 16));
  }
  const read = async (guid: string, length: number): Promise<Buffer> => {
    const offset = items.get(guid);
    if (offset === undefined) return refuse("is corrupt: its VHDX metadata lacks an item");
    if (offset + length > region.bytes) refuse("is corrupt: VHDX metadata leads out of itself");
    return readWithin(disk, region.at + offset, length, "the VHDX metadata");
  };
  const parameters = await read(FILE_PARAMETERS, 8);
  if ((parameters.readUInt32LE(4) & HAS_PARENT) !== 0 || items.has(PARENT_LOCATOR)) {
    refuse("needs a parent disk: merge it into one VHDX first");
  }
  const size = toNumber((await read(VIRTUAL_SIZE, 8)).readBigUInt64LE(0), "VHDX size");
  if (size === 0 || size % SECTOR_BYTES !== 0) refuse(`is corrupt: VHDX size of ${size} bytes`);
  return size;
}

async function metadataRegion(disk: ByteRange): Promise<{ at: number; bytes: number }> {
  const table = await readWithin(disk, REGION_TABLE_AT, TABLE_BYTES, "the VHDX region table");
  if (table.toString("latin1", 0, 4) !== "regi") refuse("is corrupt: no VHDX region table");
  const count = table.readUInt32LE(8);
  if (count > MAX_REGIONS) refuse(`is corrupt: ${count} VHDX regions`);
  for (let i = 0; i < count; i++) {
    const at = 16 + 32 * i;
    if (table.toString("hex", at, at + 16) !== METADATA_REGION) continue;
    const offset = toNumber(table.readBigUInt64LE(at + 16), "VHDX region");
    const bytes = table.readUInt32LE(at + 24);
    if (bytes < TABLE_BYTES || bytes > MAX_METADATA_BYTES) {
      refuse(`is corrupt: VHDX metadata of ${bytes} bytes`);
    }
    return { at: offset, bytes };
  }
  return refuse("is corrupt: no VHDX metadata");
}
