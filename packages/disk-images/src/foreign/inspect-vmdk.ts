import { quote } from "@trine/base";
import { SECTOR_BYTES } from "../image-info.ts";
import { refuse } from "../qcow2-header.ts";
import { readWithin, toNumber } from "./byte-range.ts";
import type { ByteRange } from "./byte-range.ts";

// Facts from the "Virtual Disk Format 5.0" note; little endian.
const MAX_DESCRIPTOR_BYTES = 64 * 1024;
const MAX_SECTORS = 2 ** 42;
/** The grain directory's place is said by a second header near the end of a streamed disk. */
const AT_END = 0xffff_ffff_ffff_ffffn;
const FOOTER_FROM_END = 1024;
const WHOLE_TYPES = ["monolithicSparse", "streamOptimized"];

/**
 * Virtual size of a VMDK that is whole in itself. Kind `invalid` for one whose description leads to other
 * files: extents, flat data, parents, devices.
 */
export async function inspectVmdk(disk: ByteRange): Promise<number> {
  const header = parseHeader(await readWithin(disk, 0, SECTOR_BYTES, "the VMDK header"));
  if (header.gdOffset === AT_END) await checkFooter(disk, header);
  const text = await readDescriptor(disk, header);
  checkDescriptor(text);
  return header.sectors * SECTOR_BYTES;
}

interface Header {
  readonly sectors: number;
  readonly descriptorAt: number;
  readonly descriptorBytes: number;
  readonly gdOffset: bigint;
}

function parseHeader(bytes: Buffer): Header {
  if (bytes.toString("latin1", 0, 4) !== "KDMV")
    refuse("is a VMDK of a form that is not supported");
  const version = bytes.readUInt32LE(4);
  if (version < 1 || version > 3) refuse(`is VMDK version ${version}, unknown here`);
  const sectors = toNumber(bytes.readBigUInt64LE(12), "VMDK capacity");
  // Readers take a capacity of 0 as leave to open the files that the description names.
  if (sectors === 0) refuse("is a VMDK of capacity 0: its data would lie in other files");
  if (sectors > MAX_SECTORS) refuse(`is corrupt: VMDK capacity of ${sectors} sectors`);
  if (bytes.toString("latin1", 73, 77) !== "\n \r\n") {
    refuse("is a damaged VMDK: it went through a transfer of text");
  }
  return {
    sectors,
    descriptorAt: toNumber(bytes.readBigUInt64LE(28), "VMDK descriptor offset") * SECTOR_BYTES,
    descriptorBytes: toNumber(bytes.readBigUInt64LE(36), "VMDK descriptor size") * SECTOR_BYTES,
    gdOffset: bytes.readBigUInt64LE(56),
  };
}

async function checkFooter(disk: ByteRange, header: Header): Promise<void> {
  const at = disk.sizeBytes - FOOTER_FROM_END;
  const bytes = await readWithin(disk, at, SECTOR_BYTES, "the VMDK footer");
  if (bytes.toString("latin1", 0, 4) !== "KDMV") refuse("is truncated: the VMDK footer is missing");
  const footer = parseHeader(bytes);
  const isSame = footer.sectors === header.sectors && footer.descriptorAt === header.descriptorAt;
  if (!isSame || footer.gdOffset === AT_END) refuse("is corrupt: VMDK header and footer differ");
}

async function readDescriptor(disk: ByteRange, header: Header): Promise<string> {
  const { descriptorAt, descriptorBytes } = header;
  if (descriptorAt === 0 || descriptorBytes === 0) refuse("is a VMDK without a description");
  if (descriptorBytes > MAX_DESCRIPTOR_BYTES) {
    refuse(`is corrupt: VMDK description of ${descriptorBytes} bytes`);
  }
  const bytes = await readWithin(disk, descriptorAt, descriptorBytes, "the VMDK description");
  const text = bytes.toString("latin1").replace(/\0.*$/s, "");
  if (!/^# Disk DescriptorFile/.test(text)) refuse("is a VMDK without a description");
  return text;
}

/** Refuses a description that leads anywhere. Words are found wherever they stand: readers differ. */
function checkDescriptor(text: string): void {
  const parent = /parentFileNameHint\s*=\s*"?([^"\r\n]*)/i.exec(text);
  if (parent !== null || /parentFileNameHint/i.test(text)) {
    refuse(
      `needs a parent disk ${quote(parent?.[1] ?? "")}: only disks that are whole in themselves are imported`,
    );
  }
  for (const [, cid = ""] of text.matchAll(/parentCID\s*=\s*(\S*)/gi)) {
    if (cid.toLowerCase() !== "ffffffff") refuse("needs a parent disk: flatten it first");
  }
  const extents = extentsOf(text);
  const kind = /createType\s*=\s*"([^"\r\n]*)"/i.exec(text)?.[1] ?? "";
  const elsewhere = extents.find(({ type }) => type !== "SPARSE");
  if (elsewhere !== undefined || extents.length !== 1) {
    const names = extents.slice(0, 4).map(({ file }) => quote(file));
    refuse(
      `keeps its data in other files (${names.join(", ") || "none named"}): export it as one streamOptimized VMDK`,
    );
  }
  if (!WHOLE_TYPES.includes(kind)) {
    refuse(`is a VMDK of type ${quote(kind)}; supported: ${WHOLE_TYPES.join(", ")}`);
  }
}

function extentsOf(text: string): { type: string; file: string }[] {
  const lines = text.matchAll(
    // Blank lines are no part of it: each would be a beginning to search on from.
    /^[^\S\r\n]*(?:RW|RDONLY|NOACCESS)\s+\d+\s+(\S+)[^\S\r\n]*("[^"\r\n]*"?)?/gim,
  );
  return [...lines].map(([, type = "", file = ""]) => ({
    type: type.toUpperCase(),
    file: file.replaceAll('"', ""),
  }));
}

/** The files that a description of its own (a .vmdk of text) names. */
export function refuseVmdkText(head: Buffer): never {
  const names = extentsOf(head.toString("latin1")).map(({ file }) => quote(file));
  return refuse(
    `keeps its data in other files (${names.slice(0, 4).join(", ") || "none named"}): export it as one streamOptimized VMDK`,
  );
}
