import {
  ISO_SECTOR,
  VOLUME_DATE,
  both16,
  both32,
  directoryRecord,
  packRecords,
  pathTable,
  sectorsOf,
} from "./iso-record.ts";
import type { IsoExtent, PathTableEntry } from "./iso-record.ts";
import { directoriesOf } from "./iso-tree.ts";
import type { IsoNode } from "./iso-tree.ts";
import {
  CONTINUATION_BYTES,
  continuationOf,
  rockRidgeDot,
  rockRidgeEntry,
  rockRidgeRoot,
} from "./rock-ridge.ts";
import type { Continuation } from "./rock-ridge.ts";

type Flavour = "rockRidge" | "joliet";
type Write = (sector: number, bytes: Uint8Array) => void;

/** One of the image's two views of the same files: where its tables lie and what is in them. */
export interface IsoVolume {
  readonly endSector: number;
  descriptor(label: string, totalSectors: number): Buffer;
  writeTables(write: Write, files: ReadonlyMap<IsoNode, number>): void;
}

const SELF = Buffer.from([0]);
const PARENT = Buffer.from([1]);
/** Escape sequence that says "UCS-2, level 3" to a reader of Joliet. */
const JOLIET_ESCAPE = "%/E";

/** Places path tables and directories from `firstSector` on. */
export function planVolume(root: IsoNode, flavour: Flavour, firstSector: number): IsoVolume {
  const dirs = directoriesOf(root);
  const nowhere = new Map<IsoNode, IsoExtent>();
  const entries = (): PathTableEntry[] => dirs.map((dir) => pathEntry(dir, dirs, nowhere, flavour));
  const tableBytes = pathTable(entries(), "little").length;
  const little = firstSector;
  const big = little + sectorsOf(tableBytes);

  // A directory's size depends on names alone, so its place can be found before its contents.
  const extents = new Map<IsoNode, IsoExtent>();
  let sector = big + sectorsOf(tableBytes);
  for (const dir of dirs) {
    const { length } = directoryBytes(dir, flavour, nowhere, new Map());
    extents.set(dir, { sector, bytes: length });
    sector += sectorsOf(length) + sectorsOf(continuationBytes(dir, flavour).length);
  }
  return {
    endSector: sector,
    descriptor: (label, totalSectors) =>
      volumeDescriptor(flavour, {
        label,
        totalSectors,
        tableBytes,
        little,
        big,
        root: at(extents, root),
      }),
    writeTables: (write, files) => {
      const placed = dirs.map((dir) => pathEntry(dir, dirs, extents, flavour));
      write(little, pathTable(placed, "little"));
      write(big, pathTable(placed, "big"));
      for (const dir of dirs) {
        write(at(extents, dir).sector, directoryBytes(dir, flavour, extents, files));
        write(restsAt(extents, dir, 0).sector, continuationBytes(dir, flavour));
      }
    },
  };
}

/** Ends the list of volume descriptors. */
export function terminator(): Buffer {
  const sector = Buffer.alloc(ISO_SECTOR);
  sector.write("\xffCD001\x01", 0, "latin1");
  return sector;
}

function pathEntry(
  dir: IsoNode,
  dirs: readonly IsoNode[],
  extents: ReadonlyMap<IsoNode, IsoExtent>,
  flavour: Flavour,
): PathTableEntry {
  const { parent } = dir;
  return {
    identifier: parent === undefined ? SELF : identifierOf(dir, flavour),
    sector: at(extents, dir).sector,
    parent: parent === undefined ? 1 : dirs.indexOf(parent) + 1,
  };
}

function directoryBytes(
  dir: IsoNode,
  flavour: Flavour,
  extents: ReadonlyMap<IsoNode, IsoExtent>,
  files: ReadonlyMap<IsoNode, number>,
): Buffer {
  const isRock = flavour === "rockRidge";
  const self = isRock ? (dir.parent === undefined ? rockRidgeRoot() : rockRidgeDot()) : undefined;
  const records = [
    directoryRecord(SELF, at(extents, dir), true, self),
    directoryRecord(
      PARENT,
      at(extents, dir.parent ?? dir),
      true,
      isRock ? rockRidgeDot() : undefined,
    ),
  ];
  let long = 0;
  for (const node of inOrder(dir.children, flavour)) {
    const isDirectory = node.data === undefined;
    const extent = isDirectory
      ? at(extents, node)
      : { sector: files.get(node) ?? 0, bytes: node.data.length };
    const rest = restsAt(extents, dir, long);
    const extra = isRock ? rockRidgeEntry(node.name, isDirectory, rest) : undefined;
    if (continuationOf(node.name) !== undefined) long += 1;
    records.push(directoryRecord(identifierOf(node, flavour), extent, isDirectory, extra));
  }
  return packRecords(records);
}

/** Behind the directory: rests of names that its records have no room for, in their order. */
function continuationBytes(dir: IsoNode, flavour: Flavour): Buffer {
  if (flavour !== "rockRidge") return Buffer.alloc(0);
  const rests = inOrder(dir.children, flavour).flatMap(({ name }) => continuationOf(name) ?? []);
  const bytes = Buffer.alloc(rests.length * CONTINUATION_BYTES);
  for (const [index, rest] of rests.entries()) rest.copy(bytes, index * CONTINUATION_BYTES);
  return bytes;
}

function restsAt(
  extents: ReadonlyMap<IsoNode, IsoExtent>,
  dir: IsoNode,
  index: number,
): Continuation {
  const { sector, bytes } = at(extents, dir);
  const from = index * CONTINUATION_BYTES;
  return {
    sector: sector + sectorsOf(bytes) + Math.floor(from / ISO_SECTOR),
    offset: from % ISO_SECTOR,
  };
}

/** Readers may search: each view is sorted by its own names. */
function inOrder(nodes: readonly IsoNode[], flavour: Flavour): IsoNode[] {
  return [...nodes].sort((a, b) =>
    Buffer.compare(identifierOf(a, flavour), identifierOf(b, flavour)),
  );
}

function identifierOf(node: IsoNode, flavour: Flavour): Buffer {
  if (flavour === "rockRidge") return Buffer.from(node.shortName, "latin1");
  return ucs2(node.jolietName); // without the version number, which some readers would show
}

/** Big-endian, as Joliet wants it. */
function ucs2(text: string): Buffer {
  return Buffer.from(text, "utf16le").swap16();
}

function at(extents: ReadonlyMap<IsoNode, IsoExtent>, node: IsoNode): IsoExtent {
  return extents.get(node) ?? { sector: 0, bytes: 0 };
}

function volumeDescriptor(
  flavour: Flavour,
  volume: {
    label: string;
    totalSectors: number;
    tableBytes: number;
    little: number;
    big: number;
    root: IsoExtent;
  },
): Buffer {
  const isJoliet = flavour === "joliet";
  const sector = Buffer.alloc(ISO_SECTOR);
  const text = (value: string, offset: number, length: number): void => {
    const padded = isJoliet ? value.padEnd(length / 2) : value.padEnd(length);
    (isJoliet ? ucs2(padded) : Buffer.from(padded, "latin1")).copy(sector, offset, 0, length);
  };
  sector.write(isJoliet ? "\x02CD001\x01" : "\x01CD001\x01", 0, "latin1");
  text("LINUX", 8, 32);
  text(volume.label, 40, 32);
  both32(volume.totalSectors).copy(sector, 80);
  if (isJoliet) sector.write(JOLIET_ESCAPE, 88, "latin1");
  both16(1).copy(sector, 120);
  both16(1).copy(sector, 124);
  both16(ISO_SECTOR).copy(sector, 128);
  both32(volume.tableBytes).copy(sector, 132);
  sector.writeUInt32LE(volume.little, 140);
  sector.writeUInt32BE(volume.big, 148);
  directoryRecord(SELF, volume.root, true).copy(sector, 156);
  for (const offset of [190, 318, 446, 574]) text("", offset, 128);
  for (const offset of [702, 739, 776]) text("", offset, 36); // an odd 37 bytes: the last stays 0
  const never = Buffer.from("0000000000000000\0", "latin1");
  for (const offset of [813, 830]) VOLUME_DATE.copy(sector, offset);
  for (const offset of [847, 864]) never.copy(sector, offset);
  sector.writeUInt8(1, 881);
  return sector;
}
