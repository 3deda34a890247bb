import { TrineError } from "@trine/base";
import { SECTOR } from "./gpt.ts";

/** Code of the MBR: what a BIOS runs, and up to where it may reach. */
const CODE_BYTES = 440;
/** Where GRUB's boot.img keeps the sector of its core. */
const KERNEL_SECTOR = 0x5c;
/** The jump that asks whether the BIOS has named a hard disk; two NOPs believe it. */
const DRIVE_CHECK = 0x66;
const NOPS = 0x9090;
/** Where the first sector of a core says from which sector on the others lie. */
const REST_SECTOR = 0x1f4;

/** The code for the MBR, made of GRUB's boot.img, that goes on at a sector. */
export function mbrCode(bootImage: Buffer, coreSector: number): Buffer {
  if (bootImage.length !== SECTOR || bootImage.readUInt16LE(510) !== 0xaa55) {
    throw new TrineError("invalid", "GRUB's boot.img is no boot sector");
  }
  const code = Buffer.from(bootImage.subarray(0, CODE_BYTES));
  code.writeBigUInt64LE(BigInt(coreSector), KERNEL_SECTOR);
  code.writeUInt16LE(NOPS, DRIVE_CHECK);
  return code;
}

/** A core of grub-mkimage as it lies at a sector; `sectors` is the room for it. */
export function coreAt(core: Buffer, coreSector: number, sectors: number): Buffer {
  if (core.length < SECTOR || core.length > sectors * SECTOR) {
    throw new TrineError("internal", `GRUB's core has ${core.length} bytes`);
  }
  const placed = Buffer.from(core);
  placed.writeBigUInt64LE(BigInt(coreSector + 1), REST_SECTOR);
  return placed;
}
