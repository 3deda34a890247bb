/** How many bytes from the start of a file the functions here want to see. */
export const HEAD_BYTES = 40_960;
/** How many bytes of its end. */
export const TAIL_BYTES = 512;

interface Signature {
  readonly name: string;
  readonly at: number;
  readonly bytes: Buffer;
}

function signature(name: string, at: number, bytes: string): Signature {
  return { name, at, bytes: Buffer.from(bytes, "latin1") };
}

/** Files that people offer as disks. Offsets and bytes from the formats' own descriptions. */
const FOREIGN: readonly Signature[] = [
  signature("a VMDK disk", 0, "KDMV"),
  signature("a VMDK disk", 0, "COWD"),
  signature("a VMDK descriptor", 0, "# Disk DescriptorFile"),
  signature("a VDI disk", 0x40, "\x7f\x10\xda\xbe"),
  signature("a VHDX disk", 0, "vhdxfile"),
  signature("a VHD disk", 0, "conectix"),
  signature("a QED disk", 0, "QED\0"),
  signature("a Parallels disk", 0, "WithoutFreeSpace"),
  signature("a Parallels disk", 0, "WithouFreSpacExt"),
  signature("an encrypted (LUKS) disk", 0, "LUKS\xba\xbe"),
  signature("a gzip file", 0, "\x1f\x8b"),
  signature("an xz file", 0, "\xfd7zXZ\0"),
  signature("a zstd file", 0, "\x28\xb5\x2f\xfd"),
  signature("a bzip2 file", 0, "BZh"),
  signature("an lz4 file", 0, "\x04\x22\x4d\x18"),
  signature("a zip file", 0, "PK\x03\x04"),
  signature("a 7-zip file", 0, "7z\xbc\xaf\x27\x1c"),
  signature("an ELF program", 0, "\x7fELF"),
  signature("a Windows or EFI program", 0, "MZ"),
  signature("a tar archive", 257, "ustar"),
];

/** What a file that is not QCOW2 looks like instead of a disk; undefined when it may be a raw one. */
export function foreignFormat(head: Buffer, tail: Buffer): string | undefined {
  const found = FOREIGN.find(({ at, bytes }) => head.subarray(at, at + bytes.length).equals(bytes));
  if (found !== undefined) return found.name;
  if (tail.subarray(0, 8).equals(Buffer.from("conectix"))) return "a VHD disk of fixed size";
  return textFormat(head);
}

/** `gpt` comes first: a GPT disk has a protective MBR, a hybrid ISO an MBR too. */
export function rawSignature(head: Buffer): "mbr" | "gpt" | "iso9660" | "unknown" {
  const isGpt = [512, 4096].some((at) => head.toString("latin1", at, at + 8) === "EFI PART");
  if (isGpt) return "gpt";
  if (head.toString("latin1", 32_769, 32_774) === "CD001") return "iso9660";
  return head.length >= 512 && head.readUInt16LE(510) === 0xaa55 ? "mbr" : "unknown";
}

/** Whether a file that begins so is a raw disk for sure, as far as its end does not say otherwise. */
export function isRawHead(head: Buffer): boolean {
  return rawSignature(head) !== "unknown" && foreignFormat(head, Buffer.of()) === undefined;
}

function textFormat(head: Buffer): string | undefined {
  const start = head.subarray(0, 512);
  if (/^\s*(<!doctype html|<html)/i.test(start.toString("latin1"))) return "an HTML page";
  const isText = start.every((byte) => byte >= 0x20 || (byte >= 0x08 && byte <= 0x0d));
  return isText ? "a text file" : undefined;
}
