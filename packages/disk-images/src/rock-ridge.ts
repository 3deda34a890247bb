import { both32 } from "./iso-record.ts";

const DIRECTORY_MODE = 0o040555;
const FILE_MODE = 0o100444;
const ROCK_RIDGE_ID = "RRIP_1991A";

/** Name and attributes of an entry: owner root, readable by all. */
export function rockRidgeEntry(name: string, isDirectory: boolean): Buffer {
  return Buffer.concat([attributes(isDirectory), alternateName(name)]);
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

function alternateName(name: string): Buffer {
  return Buffer.concat([
    Buffer.from([0x4e, 0x4d, 5 + name.length, 1, 0]), // NM
    Buffer.from(name, "latin1"),
  ]);
}
