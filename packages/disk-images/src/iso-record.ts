// Layouts from ECMA-119 (ISO 9660), the Joliet specification, SUSP 1.10 and RRIP 1.10.
export const ISO_SECTOR = 2048;

/** One fixed moment, 2000-01-01 UTC: equal files make equal images. */
const RECORD_DATE = Buffer.from([100, 1, 1, 0, 0, 0, 0]);
export const VOLUME_DATE = Buffer.from("2000010100000000\0", "latin1");

export interface IsoExtent {
  readonly sector: number;
  readonly bytes: number;
}

/** A 32-bit number in both byte orders. */
export function both32(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(value, 0);
  bytes.writeUInt32BE(value, 4);
  return bytes;
}

export function both16(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt16LE(value, 0);
  bytes.writeUInt16BE(value, 2);
  return bytes;
}

/** A directory record: `identifier` as the volume's names are coded, `extra` its system-use area. */
export function directoryRecord(
  identifier: Buffer,
  extent: IsoExtent,
  isDirectory: boolean,
  extra: Buffer = Buffer.alloc(0),
): Buffer {
  const pad = Buffer.alloc(identifier.length % 2 === 0 ? 1 : 0);
  const tail = Buffer.alloc(extra.length % 2);
  const body = Buffer.concat([
    both32(extent.sector),
    both32(extent.bytes),
    RECORD_DATE,
    Buffer.from([isDirectory ? 2 : 0, 0, 0]),
    both16(1),
    Buffer.from([identifier.length]),
    identifier,
    pad,
    extra,
    tail,
  ]);
  return Buffer.concat([Buffer.from([body.length + 2, 0]), body]);
}

/** Lays records one after the other; none crosses a sector's end. */
export function packRecords(records: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [];
  let used = 0;
  for (const record of records) {
    const left = ISO_SECTOR - (used % ISO_SECTOR);
    if (record.length > left) {
      parts.push(Buffer.alloc(left));
      used += left;
    }
    parts.push(record);
    used += record.length;
  }
  parts.push(Buffer.alloc(sectorsOf(used) * ISO_SECTOR - used));
  return Buffer.concat(parts);
}

export function sectorsOf(bytes: number): number {
  return Math.ceil(bytes / ISO_SECTOR);
}

export interface PathTableEntry {
  readonly identifier: Buffer;
  readonly sector: number;
  /** Number of the parent directory, from 1; the root is its own. */
  readonly parent: number;
}

export function pathTable(entries: readonly PathTableEntry[], order: "little" | "big"): Buffer {
  const records = entries.map(({ identifier, sector, parent }) => {
    const record = Buffer.alloc(8 + identifier.length + (identifier.length % 2));
    record.writeUInt8(identifier.length, 0);
    if (order === "little") {
      record.writeUInt32LE(sector, 2);
      record.writeUInt16LE(parent, 6);
    } else {
      record.writeUInt32BE(sector, 2);
      record.writeUInt16BE(parent, 6);
    }
    identifier.copy(record, 8);
    return record;
  });
  return Buffer.concat(records);
}
