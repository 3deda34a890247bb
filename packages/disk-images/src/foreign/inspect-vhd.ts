import { SECTOR_BYTES } from "../image-info.ts";
import { refuse } from "../qcow2-header.ts";
import { readWithin, toNumber } from "./byte-range.ts";
import type { ByteRange } from "./byte-range.ts";

// Facts from the "Virtual Hard Disk Image Format Specification", version 1.0; big endian.
const FIXED = 2;
const DYNAMIC = 3;
const DIFFERENCING = 4;
const CHECKSUM_AT = 64;
const MAX_BLOCK_BYTES = 256 * 1024 * 1024;

/** Virtual size of a VHD that is whole in itself; kind `invalid` for others. */
export async function inspectVhd(disk: ByteRange): Promise<number> {
  const at = disk.sizeBytes - SECTOR_BYTES;
  const footer = await readWithin(disk, at, SECTOR_BYTES, "the VHD footer");
  if (footer.toString("latin1", 0, 8) !== "conectix") {
    refuse("is truncated: the VHD footer at its end is missing");
  }
  checkSum(footer, "VHD footer");
  const type = footer.readUInt32BE(60);
  const size = toNumber(footer.readBigUInt64BE(48), "VHD size");
  if (type === DIFFERENCING) refuse("needs a parent disk: merge it into one VHD first");
  if (size === 0) refuse("has a virtual size of 0");
  if (type === FIXED) {
    if (size > at) refuse(`is truncated: it holds ${at} of ${size} bytes`);
  } else if (type === DYNAMIC) {
    await checkDynamic(disk, toNumber(footer.readBigUInt64BE(16), "VHD data offset"), size);
  } else {
    refuse(`is a VHD of type ${type}, unknown here`);
  }
  return Math.ceil(size / SECTOR_BYTES) * SECTOR_BYTES;
}

async function checkDynamic(disk: ByteRange, at: number, size: number): Promise<void> {
  const header = await readWithin(disk, at, 1024, "the VHD header");
  if (header.toString("latin1", 0, 8) !== "cxsparse") refuse("is corrupt: no VHD header");
  checkSum(header, "VHD header", 36);
  const entries = header.readUInt32BE(28);
  const blockBytes = header.readUInt32BE(32);
  if (blockBytes < SECTOR_BYTES || blockBytes > MAX_BLOCK_BYTES || !isPowerOfTwo(blockBytes)) {
    refuse(`is corrupt: VHD blocks of ${blockBytes} bytes`);
  }
  if (entries * blockBytes < size) refuse("is corrupt: the VHD's table does not cover its size");
  const table = toNumber(header.readBigUInt64BE(16), "VHD table offset");
  if (table + entries * 4 > disk.sizeBytes) {
    refuse("is truncated: the VHD's table lies behind its end");
  }
}

/** One's complement of the sum of all bytes but the sum's own. */
function checkSum(bytes: Buffer, what: string, at = CHECKSUM_AT): void {
  const sum = bytes.reduce((all, byte, i) => (i >= at && i < at + 4 ? all : all + byte), 0);
  if (~sum >>> 0 !== bytes.readUInt32BE(at)) refuse(`is corrupt: checksum of the ${what}`);
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value));
}
