import { TrineError } from "@trine/base";

const HEADER = 64;
const EM_X86_64 = 62;
const PT_INTERP = 3;
const PT_NOTE = 4;
const MAX_ENTRIES = 4096;
/** XEN_ELFNOTE_PHYS32_ENTRY: where a PVH loader enters the kernel. */
const PVH_NOTE = 18;

interface Segment {
  readonly type: number;
  readonly data: Buffer;
}

/** Checks the header of an ELF file for 64-bit x86; kind `invalid` names `what`. */
function checkElf(what: string, file: Buffer): void {
  const magic = file.length >= HEADER && file.readUInt32BE(0) === 0x7f454c46;
  if (!magic) throw new TrineError("invalid", `${what}: no ELF file`);
  // EI_CLASS 2 = 64 bits, EI_DATA 1 = little-endian.
  if (file[4] !== 2 || file[5] !== 1 || file.readUInt16LE(18) !== EM_X86_64) {
    throw new TrineError("invalid", `${what}: an ELF file, but not for x86-64`);
  }
}

/** Program segments with their bytes; kind `invalid` when a table leads outside the file. */
function segments(what: string, file: Buffer): Segment[] {
  checkElf(what, file);
  const table = entries(what, file, { at: 32, sizeAt: 54, countAt: 56, least: 56 });
  return table.map((entry) => ({
    type: entry.readUInt32LE(0),
    data: slice(what, file, entry.readBigUInt64LE(8), entry.readBigUInt64LE(32)),
  }));
}

/** The bytes of a named section; undefined when there is none. Kind `invalid` for damaged tables. */
export function section(what: string, file: Buffer, name: string): Buffer | undefined {
  checkElf(what, file);
  const table = entries(what, file, { at: 40, sizeAt: 58, countAt: 60, least: 64 });
  const namesEntry = table[file.readUInt16LE(62)];
  if (namesEntry === undefined) throw new TrineError("invalid", `${what}: damaged section table`);
  const names = content(what, file, namesEntry);
  const found = table.find((entry) => textAt(names, entry.readUInt32LE(0)) === name);
  return found === undefined ? undefined : content(what, file, found);
}

/** True when the program needs a loader, and so files the guest has not. */
export function isDynamic(what: string, file: Buffer): boolean {
  return segments(what, file).some(({ type }) => type === PT_INTERP);
}

/** True when the kernel says where a PVH loader enters it. */
export function hasPvhEntry(what: string, file: Buffer): boolean {
  return segments(what, file)
    .filter(({ type }) => type === PT_NOTE)
    .some(({ data }) => notes(data).some((note) => note.name === "Xen" && note.type === PVH_NOTE));
}

interface Table {
  readonly at: number;
  readonly sizeAt: number;
  readonly countAt: number;
  readonly least: number;
}

function entries(what: string, file: Buffer, table: Table): Buffer[] {
  const size = file.readUInt16LE(table.sizeAt);
  const count = file.readUInt16LE(table.countAt);
  if ((count > 0 && size < table.least) || count > MAX_ENTRIES) {
    throw new TrineError("invalid", `${what}: damaged ELF header`);
  }
  const start = file.readBigUInt64LE(table.at);
  return Array.from({ length: count }, (_, index) =>
    slice(what, file, start + BigInt(index * size), BigInt(size)),
  );
}

/** A section's bytes; SHT_NOBITS (8) has none in the file. */
function content(what: string, file: Buffer, entry: Buffer): Buffer {
  if (entry.readUInt32LE(4) === 8) return Buffer.alloc(0);
  return slice(what, file, entry.readBigUInt64LE(24), entry.readBigUInt64LE(32));
}

function slice(what: string, file: Buffer, offset: bigint, length: bigint): Buffer {
  const end = offset + length;
  if (end > BigInt(file.length)) {
    throw new TrineError("invalid", `${what}: cut off, ${end} bytes are wanted of ${file.length}`);
  }
  return file.subarray(Number(offset), Number(end));
}

function textAt(names: Buffer, offset: number): string {
  const end = names.indexOf(0, offset);
  return end < 0 ? "" : names.toString("latin1", offset, end);
}

function notes(data: Buffer): { name: string; type: number }[] {
  const found: { name: string; type: number }[] = [];
  for (let at = 0; at + 12 <= data.length && found.length < MAX_ENTRIES;) {
    const nameSize = data.readUInt32LE(at);
    const name = data.toString("latin1", at + 12, at + 12 + nameSize).replace(/\0+$/, "");
    found.push({ name, type: data.readUInt32LE(at + 8) });
    at += 12 + roundUp(nameSize) + roundUp(data.readUInt32LE(at + 4));
  }
  return found;
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}
