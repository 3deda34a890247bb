import { writeFileSync } from "node:fs";

/** Fields of a hand-made QCOW2 header; what is left out is as in a good, empty disk of 1 GiB. */
export interface Qcow2Fields {
  readonly version?: number;
  readonly clusterBits?: number;
  readonly virtualSizeBytes?: bigint;
  readonly backingFile?: string;
  readonly cryptMethod?: number;
  readonly l1Entries?: number;
  readonly l1Offset?: bigint;
  readonly l1?: readonly bigint[];
  readonly refcountTableOffset?: bigint;
  readonly snapshots?: number;
  readonly incompatible?: bigint;
  readonly refcountOrder?: number;
  readonly headerBytes?: number;
  readonly extensions?: readonly { readonly type: number; readonly data: string }[];
  /** Cuts the file. */
  readonly keepBytes?: number;
}

const CLUSTER = 65_536;
const NAME_AT = 1024;

/** Bytes of a QCOW2 of four clusters of 64 KiB: header, refcount table, refcount block, L1 table. */
export function qcow2Bytes(fields: Qcow2Fields = {}): Buffer {
  const image = Buffer.alloc(4 * CLUSTER);
  const version = fields.version ?? 3;
  image.write("QFI\xfb", 0, "latin1");
  image.writeUInt32BE(version, 4);
  if (fields.backingFile !== undefined) {
    image.writeBigUInt64BE(BigInt(NAME_AT), 8);
    image.writeUInt32BE(image.write(fields.backingFile, NAME_AT, "utf8"), 16);
  }
  image.writeUInt32BE(fields.clusterBits ?? 16, 20);
  image.writeBigUInt64BE(fields.virtualSizeBytes ?? 1n << 30n, 24);
  image.writeUInt32BE(fields.cryptMethod ?? 0, 32);
  image.writeUInt32BE(fields.l1Entries ?? 2, 36);
  image.writeBigUInt64BE(fields.l1Offset ?? BigInt(3 * CLUSTER), 40);
  image.writeBigUInt64BE(fields.refcountTableOffset ?? BigInt(CLUSTER), 48);
  image.writeUInt32BE(1, 56);
  image.writeUInt32BE(fields.snapshots ?? 0, 60);
  image.writeBigUInt64BE(BigInt(2 * CLUSTER), CLUSTER);
  for (let cluster = 0; cluster < 4; cluster++) image.writeUInt16BE(1, 2 * CLUSTER + 2 * cluster);
  (fields.l1 ?? []).forEach((entry, i) => image.writeBigUInt64BE(entry, 3 * CLUSTER + 8 * i));
  if (version === 3) writeV3(image, fields);
  return image.subarray(0, fields.keepBytes ?? image.length);
}

function writeV3(image: Buffer, fields: Qcow2Fields): void {
  const headerBytes = fields.headerBytes ?? 104;
  image.writeBigUInt64BE(fields.incompatible ?? 0n, 72);
  image.writeUInt32BE(fields.refcountOrder ?? 4, 96);
  image.writeUInt32BE(headerBytes, 100);
  let at = headerBytes;
  for (const { type, data } of fields.extensions ?? []) {
    image.writeUInt32BE(type, at);
    image.writeUInt32BE(data.length, at + 4);
    image.write(data, at + 8, "latin1");
    at += 8 + Math.ceil(data.length / 8) * 8;
  }
}

/** A raw disk of 1 MiB that a firmware takes for a bootable one. */
export function rawDiskBytes(kind: "mbr" | "gpt" | "iso9660" = "mbr"): Buffer {
  const disk = Buffer.alloc(1024 * 1024);
  if (kind !== "iso9660") disk.writeUInt16LE(0xaa55, 510);
  if (kind === "gpt") disk.write("EFI PART", 512, "latin1");
  if (kind === "iso9660") disk.write("\x01CD001\x01", 32_768, "latin1");
  return disk;
}

/** Images a careful reader refuses, each with words of the reason it should give. */
export const HOSTILE_IMAGES: readonly {
  readonly name: string;
  readonly bytes: () => Buffer;
  readonly says: RegExp;
}[] = [
  qcow2("header cut off", { keepBytes: 60 }, /truncated: it ends within the QCOW2 header/),
  qcow2("L1 table cut off", { keepBytes: 3 * CLUSTER }, /truncated: L1 table lies behind its end/),
  qcow2("version 1", { version: 1 }, /QCOW version 1/),
  qcow2("version 7", { version: 7 }, /QCOW version 7/),
  qcow2("backing file", { backingFile: "/etc/shadow" }, /backing file "\/etc\/shadow"/),
  qcow2(
    "backing file with escapes",
    { backingFile: `json:{"driver":"nbd"}\n\x1b[31m${"x".repeat(900)}` },
    /backing file "json:\{\\"driver\\":\\"nbd\\"\}\\n\\u001b\[31mx+…"/,
  ),
  qcow2("backing file in version 2", { version: 2, backingFile: "a" }, /backing file "a"/),
  qcow2("data file", { incompatible: 4n }, /external data file/),
  qcow2(
    "data file by extension alone",
    { extensions: [{ type: 0x44415441, data: "/etc/shadow" }] },
    /external data file/,
  ),
  qcow2("AES", { cryptMethod: 1 }, /encrypted \(AES\)/),
  qcow2("LUKS", { cryptMethod: 2 }, /encrypted \(LUKS\)/),
  qcow2("LUKS extension", { extensions: [{ type: 0x0537be77, data: "k" }] }, /is encrypted/),
  qcow2("unknown feature", { incompatible: 1n << 40n }, /incompatible bits 0x10000000000/),
  qcow2("marked corrupt", { incompatible: 2n }, /marked corrupt/),
  qcow2("compression undeclared", { incompatible: 8n }, /compression type and feature differ/),
  qcow2("tiny clusters", { clusterBits: 3 }, /cluster bits 3/),
  qcow2("giant clusters", { clusterBits: 40 }, /cluster bits 40/),
  qcow2("refcount order", { refcountOrder: 9 }, /refcount order 9/),
  qcow2("header length", { headerBytes: 105 }, /header length 105/),
  qcow2("no size", { virtualSizeBytes: 0n }, /virtual size of 0/),
  qcow2("half a sector", { virtualSizeBytes: 513n }, /not a whole number of sectors/),
  qcow2("giant size", { virtualSizeBytes: 1n << 62n }, /virtual size 0x4000000000000000/),
  qcow2(
    "64 TiB",
    { virtualSizeBytes: 1n << 46n, l1Entries: 131_072, l1Offset: 0n },
    /L1 table offset 0 is not at a cluster/,
  ),
  qcow2("short L1 table", { l1Entries: 1 }, /L1 table has 1 entries/),
  qcow2("giant L1 table", { l1Entries: 0xffffffff }, /L1 table of 4294967295 entries/),
  qcow2("L1 table unaligned", { l1Offset: 196_616n }, /L1 table offset 196616/),
  qcow2("L1 table far away", { l1Offset: 1n << 40n }, /L1 table lies behind its end/),
  qcow2("L1 entry far away", { l1: [1n << 40n] }, /L2 table lies behind its end/),
  qcow2("L1 entry unaligned", { l1: [512n] }, /L1 entry does not lead to a cluster/),
  qcow2("L1 entry reserved bits", { l1: [(1n << 60n) | 65_536n] }, /L1 entry does not lead/),
  qcow2(
    "refcount table far away",
    { refcountTableOffset: 1n << 40n },
    /refcount table lies behind/,
  ),
  qcow2("no refcount table", { refcountTableOffset: 0n }, /refcount table offset or size is wrong/),
  qcow2("many snapshots", { snapshots: 1_000_000 }, /1000000 internal snapshots/),
  qcow2(
    "extension past the header",
    { extensions: [{ type: 1, data: "x".repeat(65_000) }], headerBytes: 1024 },
    /header extension leads out/,
  ),
  foreign("VMDK", "KDMV\x01", /a VMDK disk/),
  foreign("VMDK text", "# Disk DescriptorFile\nversion=1\n", /a VMDK descriptor/),
  foreign("VDI", `${"<<< Oracle VM >>>".padEnd(64, "\0")}\x7f\x10\xda\xbe`, /a VDI disk/),
  foreign("VHDX", "vhdxfile", /a VHDX disk/),
  foreign("VHD", "conectix", /a VHD disk/),
  foreign("fixed VHD", `${"\x01".repeat(4096)}conectix${"\0".repeat(504)}`, /VHD disk of fixed/),
  foreign("LUKS", "LUKS\xba\xbe", /encrypted \(LUKS\)/),
  foreign("gzip", "\x1f\x8b\x08", /a gzip file.*unpack/),
  foreign("xz", "\xfd7zXZ\0", /an xz file/),
  foreign("zstd", "\x28\xb5\x2f\xfd", /a zstd file/),
  foreign("zip", "PK\x03\x04", /a zip file/),
  foreign("ELF", "\x7fELF", /an ELF program/),
  foreign("HTML", "\n<!DOCTYPE html><html>", /an HTML page/),
  foreign("text", "404 page not found\n", /a text file/),
  foreign("bytes", "\x01\x02\x03", /smaller than one sector/),
  { name: "empty", bytes: () => Buffer.alloc(0), says: /is empty/ },
];

/** Writes bytes as a file and answers its name. */
export function writeImageFile(path: string, bytes: Buffer): string {
  writeFileSync(path, bytes);
  return path;
}

function qcow2(name: string, fields: Qcow2Fields, says: RegExp): (typeof HOSTILE_IMAGES)[number] {
  return { name: `QCOW2: ${name}`, bytes: () => qcow2Bytes(fields), says };
}

function foreign(name: string, text: string, says: RegExp): (typeof HOSTILE_IMAGES)[number] {
  return { name: `foreign: ${name}`, bytes: () => Buffer.from(text, "latin1"), says };
}
export { zipBytes } from "./foreign/zip-testing.ts";
export type { ZipFile } from "./foreign/zip-testing.ts";
