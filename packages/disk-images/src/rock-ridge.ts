import { both32 } from "./iso-record.ts";

const DIRECTORY_MODE = 0o040555;
const FILE_MODE = 0o100444;
const CONTINUE = 1;
const ROCK_RIDGE_ID = "RRIP_1991A";

/** With it a record of an 8.3 name and the rest of its fields stays under 255 bytes. */
const NAME_IN_RECORD = 128;
/** Has the rest of any name of 255 bytes; as many of them as there are fill whole sectors. */
export const CONTINUATION_BYTES = 256;

/** Where there is room for the rest of a long name. */
export interface Continuation {
  readonly sector: number;
  readonly offset: number;
}

/** Name and attributes of an entry: owner root, readable by all. A long name goes on at `rest`. */
export function rockRidgeEntry(name: string, isDirectory: boolean, rest: Continuation): Buffer {
  const own = attributes(isDirectory);
  const continued = continuationOf(name);
  if (continued === undefined) return Buffer.concat([own, alternateName(name)]);
  const begin = alternateName(name.slice(0, NAME_IN_RECORD), CONTINUE);
  return Buffer.concat([own, begin, continuedAt(rest, continued.length)]);
}

/** What lies there of that name; undefined where the record has all of it. */
export function continuationOf(name: string): Buffer | undefined {
  return name.length <= NAME_IN_RECORD ? undefined : alternateName(name.slice(NAME_IN_RECORD));
}

/** What the root's own record holds: that SUSP and Rock Ridge are in use, and its attributes. */
export function rockRidgeRoot(): Buffer {
  const inUse = Buffer.from([0x53, 0x50, 7, 1, 0xbe, 0xef, 0]); // SP
  const extension = Buffer.concat([
    Buffer.from([0x45, 0x52, 8 + ROCK_RIDGE_ID.length, 1, ROCK_RIDGE_ID.length, 0, 0, 1]), // ER
    Buffer.from(ROCK_RIDGE_ID, "latin1"),
  ]);
  return Buffer.concat([inUse, attributes(true), extension]);
}

/** `.` and `..` carry attributes only. */
export function rockRidgeDot(): Buffer {
  return attributes(true);
}

function attributes(isDirectory: boolean): Buffer {
  return Buffer.concat([
    Buffer.from([0x50, 0x58, 36, 1]), // PX
    both32(isDirectory ? DIRECTORY_MODE : FILE_MODE),
    both32(isDirectory ? 2 : 1),
    both32(0),
    both32(0),
  ]);
}

function alternateName(name: string, flags = 0): Buffer {
  return Buffer.concat([
    Buffer.from([0x4e, 0x4d, 5 + name.length, 1, flags]), // NM
    Buffer.from(name, "latin1"),
  ]);
}

function continuedAt({ sector, offset }: Continuation, length: number): Buffer {
  const head = Buffer.from([0x43, 0x45, 28, 1]); // CE
  return Buffer.concat([head, both32(sector), both32(offset), both32(length)]);
}
