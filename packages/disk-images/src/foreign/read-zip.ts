import { quote } from "@trine/base";
import { refuse } from "../qcow2-header.ts";
import { readWithin, toNumber } from "./byte-range.ts";
import type { ByteRange } from "./byte-range.ts";

// Facts from APPNOTE.TXT 6.3.10. A reader of disks needs little of it; what it does not need is refused.
const MAX_FILES = 64;
const MAX_DIRECTORY_BYTES = 256 * 1024;
const MAX_COMMENT = 65_535;
const END = { signature: 0x06054b50, bytes: 22 } as const;
const END64 = { signature: 0x06064b50, bytes: 56 } as const;
const LOCATOR = { signature: 0x07064b50, bytes: 20 } as const;
const ENTRY = { signature: 0x02014b50, bytes: 46 } as const;
const LOCAL = { signature: 0x04034b50, bytes: 30 } as const;
/** The field of 64 bit numbers has what is all ones here. */
const MORE_16 = 0xffff;
const MORE_32 = 0xffffffff;
const ZIP64_FIELD = 1;
/** Encrypted; strongly so; with a directory that is. */
const ENCRYPTED = 0x2041;
const UNIX = 3;
const FILE_TYPE = 0o170000;
const REGULAR = 0o100000;
const PLAIN_PATH =
  /^(?!\/)(?:(?!\.{1,2}\/)[^/\\\p{Cc}]{1,255}\/)*(?!\.{1,2}$)[^/\\\p{Cc}]{1,255}$/u;

const METHODS = {
  0: "stored",
  8: "deflate",
  12: "bzip2",
  93: "zstd",
  95: "xz",
} as const;

export type ZipMethod = (typeof METHODS)[keyof typeof METHODS];

/** One file of an archive: where its packed bytes lie, and what is to come out of them. */
export interface ZipMember {
  readonly name: string;
  readonly method: ZipMethod;
  readonly offset: number;
  readonly packedBytes: number;
  readonly unpackedBytes: number;
  readonly crc32: number;
}

interface Entry extends Omit<ZipMember, "offset" | "method"> {
  readonly code: number;
  readonly headerAt: number;
}

interface Directory {
  readonly at: number;
  readonly sizeBytes: number;
  readonly count: number;
}

/**
 * The file of a zip archive that is called `wanted`, or its one file. Names are compared, never opened. Kind `invalid` for
 * several of which none is named, links, encrypted ones, names that lead out, and archives that lie or are cut off.
 */
export async function readZip(archive: ByteRange, wanted?: string): Promise<ZipMember> {
  const directory = await findDirectory(archive);
  const entries = await readEntries(archive, directory);
  const names = entries.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) refuse(`holds ${quote(twice)} twice`);
  const entry = chosen(entries, wanted);
  return located(archive, entry, directory.at);
}

/** One file alone is meant whatever is named: the name may be that of a disk in it. */
function chosen(entries: readonly Entry[], wanted: string | undefined): Entry {
  const [first, ...more] = entries;
  if (first === undefined) return refuse("is a zip archive without a file");
  if (more.length === 0) return first;
  const named = entries.find(({ name }) => name === wanted);
  if (named !== undefined) return named;
  const names = entries.slice(0, 8).map(({ name }) => quote(name));
  const list = `${names.join(", ")}${entries.length > names.length ? ", …" : ""}`;
  return wanted === undefined
    ? refuse(
        `is a zip archive of ${entries.length} files (${list}): --disk names the one that is meant`,
      )
    : refuse(`has no file ${quote(wanted)}: there are ${list}`);
}

async function findDirectory(archive: ByteRange): Promise<Directory> {
  const length = Math.min(archive.sizeBytes, END.bytes + MAX_COMMENT);
  const from = archive.sizeBytes - length;
  const tail = await readWithin(archive, from, length, "the archive's end");
  for (let at = length - END.bytes; at >= 0; at--) {
    if (tail.readUInt32LE(at) !== END.signature) continue;
    // A comment may hold what looks like an end; the real one's comment ends with the file.
    if (at + END.bytes + tail.readUInt16LE(at + 20) !== length) continue;
    return directoryOf(archive, tail.subarray(at), from + at);
  }
  return refuse("is truncated: the zip archive has no end");
}

async function directoryOf(archive: ByteRange, end: Buffer, endAt: number): Promise<Directory> {
  const [disk, directoryDisk] = [end.readUInt16LE(4), end.readUInt16LE(6)];
  const found = {
    count: end.readUInt16LE(10),
    sizeBytes: end.readUInt32LE(12),
    at: end.readUInt32LE(16),
  };
  const isMore = found.count === MORE_16 || found.sizeBytes === MORE_32 || found.at === MORE_32;
  if (isMore) return directory64(archive, endAt);
  if (disk !== 0 || directoryDisk !== 0) refuse("is one part of a zip archive in several");
  return checked(found, endAt);
}

async function directory64(archive: ByteRange, endAt: number): Promise<Directory> {
  const locatorAt = endAt - LOCATOR.bytes;
  const locator = await readWithin(archive, locatorAt, LOCATOR.bytes, "the archive's end");
  if (locator.readUInt32LE(0) !== LOCATOR.signature) refuse("is corrupt: the zip archive's end");
  const at = toNumber(locator.readBigUInt64LE(8), "a place in the archive");
  const end = await readWithin(archive, at, END64.bytes, "the archive's end");
  if (end.readUInt32LE(0) !== END64.signature) refuse("is corrupt: the zip archive's end");
  if (end.readUInt32LE(16) !== 0 || end.readUInt32LE(20) !== 0) {
    refuse("is one part of a zip archive in several");
  }
  const number = (offset: number): number =>
    toNumber(end.readBigUInt64LE(offset), "a size in the archive");
  return checked({ count: number(32), sizeBytes: number(40), at: number(48) }, at);
}

function checked(directory: Directory, endAt: number): Directory {
  const { at, sizeBytes, count } = directory;
  if (at + sizeBytes > endAt) refuse("is corrupt: the zip archive's list lies behind its end");
  if (count > MAX_FILES) refuse(`holds more than ${MAX_FILES} files`);
  if (sizeBytes > MAX_DIRECTORY_BYTES) refuse("is corrupt: the zip archive's list is too long");
  return directory;
}

async function readEntries(archive: ByteRange, directory: Directory): Promise<Entry[]> {
  const bytes = await readWithin(archive, directory.at, directory.sizeBytes, "the archive's list");
  const entries: Entry[] = [];
  let at = 0;
  for (let i = 0; i < directory.count; i++) {
    if (at + ENTRY.bytes > bytes.length || bytes.readUInt32LE(at) !== ENTRY.signature) {
      refuse("is corrupt: the zip archive's list");
    }
    const lengths = [28, 30, 32].map((place) => bytes.readUInt16LE(at + place));
    const end = lengths.reduce((sum, length) => sum + length, at + ENTRY.bytes);
    if (end > bytes.length) refuse("is corrupt: the zip archive's list");
    const entry = entryOf(bytes.subarray(at, end));
    if (entry !== undefined) entries.push(entry);
    at = end;
  }
  return entries;
}

/** Undefined: a directory. */
function entryOf(bytes: Buffer): Entry | undefined {
  const nameEnd = ENTRY.bytes + bytes.readUInt16LE(28);
  const name = bytes.toString("utf8", ENTRY.bytes, nameEnd);
  const mode = bytes.readUInt8(5) === UNIX ? bytes.readUInt16LE(40) & FILE_TYPE : 0;
  const sizes = sizesOf(bytes, bytes.subarray(nameEnd, nameEnd + bytes.readUInt16LE(30)));
  const isDirectory = name.endsWith("/");
  if (!PLAIN_PATH.test(isDirectory ? name.slice(0, -1) : name)) {
    refuse(`holds a file with the name ${quote(name)}: plain paths are wanted`);
  }
  if (isDirectory && sizes.unpackedBytes === 0) return undefined;
  if (isDirectory || (mode !== 0 && mode !== REGULAR)) {
    refuse(`holds ${quote(name)}, which is a link or no file`);
  }
  if ((bytes.readUInt16LE(8) & ENCRYPTED) !== 0) refuse(`holds ${quote(name)} encrypted`);
  return { name, ...sizes, code: bytes.readUInt16LE(10), crc32: bytes.readUInt32LE(16) };
}

function sizesOf(
  bytes: Buffer,
  extra: Buffer,
): Pick<Entry, "packedBytes" | "unpackedBytes" | "headerAt"> {
  const more = zip64Field(extra);
  let at = 0;
  const number = (offset: number): number => {
    const small = bytes.readUInt32LE(offset);
    if (small !== MORE_32 || more === undefined) return small;
    if (at + 8 > more.length) return refuse("is corrupt: a size in the zip archive");
    at += 8;
    return toNumber(more.readBigUInt64LE(at - 8), "a size in the archive");
  };
  // In this order they stand in the field, those alone that have no room outside of it.
  const unpackedBytes = number(24);
  const packedBytes = number(20);
  const headerAt = number(42);
  const disk = bytes.readUInt16LE(34);
  if (disk !== 0 && !(disk === MORE_16 && more !== undefined)) {
    refuse("is one part of a zip archive in several");
  }
  return { packedBytes, unpackedBytes, headerAt };
}

function zip64Field(extra: Buffer): Buffer | undefined {
  for (let at = 0; at + 4 <= extra.length;) {
    const end = at + 4 + extra.readUInt16LE(at + 2);
    if (end > extra.length) return undefined;
    if (extra.readUInt16LE(at) === ZIP64_FIELD) return extra.subarray(at + 4, end);
    at = end;
  }
  return undefined;
}

/** Where its bytes are says the header before them, which has to say the same as the list. */
async function located(archive: ByteRange, entry: Entry, directoryAt: number): Promise<ZipMember> {
  const { code, headerAt, ...member } = entry;
  const what = quote(entry.name);
  const header = await readWithin(archive, headerAt, LOCAL.bytes, what);
  if (header.readUInt32LE(0) !== LOCAL.signature) refuse(`is corrupt: ${what} is not there`);
  const [nameBytes, extraBytes] = [header.readUInt16LE(26), header.readUInt16LE(28)];
  const name = await readWithin(archive, headerAt + LOCAL.bytes, nameBytes, what);
  const isSame = name.toString("utf8") === entry.name && header.readUInt16LE(8) === code;
  if (!isSame || (header.readUInt16LE(6) & ENCRYPTED) !== 0) {
    refuse(`says two things of ${what}`);
  }
  const offset = headerAt + LOCAL.bytes + nameBytes + extraBytes;
  if (offset + entry.packedBytes > directoryAt) {
    refuse(`is truncated: ${what} goes on behind its end`);
  }
  const known: Readonly<Record<number, ZipMethod>> = METHODS;
  const method = known[code];
  if (method === undefined) {
    return refuse(
      `packs ${what} by zip's method ${code}: stored, deflate, bzip2, zstd and xz are known`,
    );
  }
  if (method === "stored" && entry.packedBytes !== entry.unpackedBytes) {
    refuse(`is corrupt: ${what} has two sizes`);
  }
  return { ...member, method, offset: archive.offset + offset };
}
