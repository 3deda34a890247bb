// Zip archives for tests, also such as no program writes.
import { crc32, deflateRawSync } from "node:zlib";

export interface ZipFile {
  readonly name: string;
  readonly bytes: Buffer;
  /** 8, deflate, where nothing is said. */
  readonly method?: number;
  /** Packed bytes, of methods that are not made here. */
  readonly packed?: Buffer;
  /** What it says of its length and sum instead of the truth. */
  readonly says?: number;
  readonly crc?: number;
  readonly flags?: number;
  /** Unix type and mode. */
  readonly mode?: number;
  /** Sizes and places as 64 bit numbers. */
  readonly is64?: boolean;
  /** Name in the header before its bytes. */
  readonly innerName?: string;
  readonly disk?: number;
}

/** An archive of these. */
export function zipBytes(files: readonly ZipFile[], comment = ""): Buffer {
  const parts: Buffer[] = [];
  const entries: Buffer[] = [];
  let at = 0;
  for (const file of files) {
    const packed = packedOf(file);
    const local = localHeader(file, packed.length);
    entries.push(entryOf(file, packed.length, at));
    parts.push(local, packed);
    at += local.length + packed.length;
  }
  const list = Buffer.concat(entries);
  const is64 = files.some((file) => file.is64 === true);
  const end64 = is64 ? end64Of(entries.length, list.length, at) : Buffer.alloc(0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(is64 ? 0xffff : entries.length, 8);
  end.writeUInt16LE(is64 ? 0xffff : entries.length, 10);
  end.writeUInt32LE(is64 ? 0xffffffff : list.length, 12);
  end.writeUInt32LE(is64 ? 0xffffffff : at, 16);
  end.writeUInt16LE(comment.length, 20);
  return Buffer.concat([...parts, list, end64, end, Buffer.from(comment, "latin1")]);
}

function packedOf({ bytes, method = 8, packed, name }: ZipFile): Buffer {
  if (packed !== undefined) return packed;
  return method === 0 || name.endsWith("/") ? bytes : deflateRawSync(bytes);
}

function methodOf({ name, method = 8 }: ZipFile): number {
  return name.endsWith("/") ? 0 : method;
}

function localHeader(file: ZipFile, packedBytes: number): Buffer {
  const name = Buffer.from(file.innerName ?? file.name);
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(file.flags ?? 0, 6);
  header.writeUInt16LE(methodOf(file), 8);
  header.writeUInt32LE(file.crc ?? crc32(file.bytes), 14);
  header.writeUInt32LE(file.is64 === true ? 0xffffffff : packedBytes, 18);
  header.writeUInt32LE(file.is64 === true ? 0xffffffff : (file.says ?? file.bytes.length), 22);
  header.writeUInt16LE(name.length, 26);
  return Buffer.concat([header, name]);
}

function entryOf(file: ZipFile, packedBytes: number, at: number): Buffer {
  const name = Buffer.from(file.name);
  const unpacked = file.says ?? file.bytes.length;
  const extra = file.is64 === true ? numbers64(unpacked, packedBytes, at) : Buffer.alloc(0);
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt16LE(file.mode === undefined ? 20 : 0x0314, 4);
  entry.writeUInt16LE(file.flags ?? 0, 8);
  entry.writeUInt16LE(methodOf(file), 10);
  entry.writeUInt32LE(file.crc ?? crc32(file.bytes), 16);
  entry.writeUInt32LE(file.is64 === true ? 0xffffffff : packedBytes, 20);
  entry.writeUInt32LE(file.is64 === true ? 0xffffffff : unpacked, 24);
  entry.writeUInt16LE(name.length, 28);
  entry.writeUInt16LE(extra.length, 30);
  entry.writeUInt16LE(file.disk ?? 0, 34);
  entry.writeUInt16LE(file.mode ?? 0, 40);
  entry.writeUInt32LE(file.is64 === true ? 0xffffffff : at, 42);
  return Buffer.concat([entry, name, extra]);
}

/** Behind a field of another kind, as programs put them. */
function numbers64(...values: readonly number[]): Buffer {
  const field = Buffer.alloc(8 + 4 + values.length * 8);
  field.writeUInt16LE(0x5455, 0);
  field.writeUInt16LE(4, 2);
  field.writeUInt16LE(1, 8);
  field.writeUInt16LE(values.length * 8, 10);
  values.forEach((value, i) => field.writeBigUInt64LE(BigInt(value), 12 + i * 8));
  return field;
}

function end64Of(count: number, sizeBytes: number, at: number): Buffer {
  const end = Buffer.alloc(56 + 20);
  end.writeUInt32LE(0x06064b50, 0);
  end.writeBigUInt64LE(44n, 4);
  end.writeBigUInt64LE(BigInt(count), 24);
  end.writeBigUInt64LE(BigInt(count), 32);
  end.writeBigUInt64LE(BigInt(sizeBytes), 40);
  end.writeBigUInt64LE(BigInt(at), 48);
  end.writeUInt32LE(0x07064b50, 56);
  end.writeBigUInt64LE(BigInt(at + sizeBytes), 64);
  end.writeUInt32LE(1, 72);
  return end;
}
