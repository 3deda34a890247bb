import { crc32 } from "node:zlib";

export const SECTOR = 512;
const ENTRIES = 128;
const ENTRY_BYTES = 128;
const TABLE_SECTORS = (ENTRIES * ENTRY_BYTES) / SECTOR;
const HEADER_BYTES = 92;
/** First sector behind the table, which stands behind the MBR and the header. */
export const FIRST_SECTOR = 2 + TABLE_SECTORS;
/** Sectors at the end: the second table and its header. */
export const LAST_SECTORS = 1 + TABLE_SECTORS;

export interface Partition {
  /** GUIDs in their usual spelling. */
  readonly type: string;
  readonly id: string;
  readonly name: string;
  readonly startSector: number;
  readonly sectors: number;
}

/** What stands at the start and at the end of a disk (UEFI 2.10, 5.3), without the boot code of its MBR. */
export function partitionTables(
  diskId: string,
  diskSectors: number,
  partitions: readonly Partition[],
): { readonly head: Buffer; readonly tail: Buffer } {
  const table = Buffer.alloc(ENTRIES * ENTRY_BYTES);
  partitions.forEach((each, index) => {
    entryOf(each).copy(table, index * ENTRY_BYTES);
  });
  const header = (own: number, other: number, at: number): Buffer =>
    headerOf({ diskId, diskSectors, table, own, other, at });
  const last = diskSectors - 1;
  return {
    head: Buffer.concat([protectiveMbr(diskSectors), header(1, last, 2), table]),
    tail: Buffer.concat([table, header(last, 1, last - TABLE_SECTORS)]),
  };
}

/** Tells programs that know no GPT that all of the disk is in use. */
function protectiveMbr(diskSectors: number): Buffer {
  const mbr = Buffer.alloc(SECTOR);
  mbr.set([0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff], 446);
  mbr.writeUInt32LE(1, 454);
  mbr.writeUInt32LE(Math.min(diskSectors - 1, 0xffffffff), 458);
  mbr.writeUInt16LE(0xaa55, 510);
  return mbr;
}

function headerOf(of: {
  readonly diskId: string;
  readonly diskSectors: number;
  readonly table: Buffer;
  readonly own: number;
  readonly other: number;
  /** Where this header's table is. */
  readonly at: number;
}): Buffer {
  const header = Buffer.alloc(SECTOR);
  header.write("EFI PART", 0, "latin1");
  header.writeUInt32LE(0x10000, 8);
  header.writeUInt32LE(HEADER_BYTES, 12);
  header.writeBigUInt64LE(BigInt(of.own), 24);
  header.writeBigUInt64LE(BigInt(of.other), 32);
  header.writeBigUInt64LE(BigInt(FIRST_SECTOR), 40);
  header.writeBigUInt64LE(BigInt(of.diskSectors - LAST_SECTORS - 1), 48);
  guid(of.diskId).copy(header, 56);
  header.writeBigUInt64LE(BigInt(of.at), 72);
  header.writeUInt32LE(ENTRIES, 80);
  header.writeUInt32LE(ENTRY_BYTES, 84);
  header.writeUInt32LE(crc32(of.table), 88);
  header.writeUInt32LE(crc32(header.subarray(0, HEADER_BYTES)), 16);
  return header;
}

function entryOf({ type, id, name, startSector, sectors }: Partition): Buffer {
  const entry = Buffer.alloc(ENTRY_BYTES);
  guid(type).copy(entry, 0);
  guid(id).copy(entry, 16);
  entry.writeBigUInt64LE(BigInt(startSector), 32);
  entry.writeBigUInt64LE(BigInt(startSector + sectors - 1), 40);
  entry.write(name, 56, "utf16le");
  return entry;
}

/** A GUID's bytes: its first three numbers are little-endian. */
function guid(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll("-", ""), "hex");
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}
