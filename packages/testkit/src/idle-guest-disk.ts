import { rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cachedDir } from "./cache.ts";
import { hashOfFiles } from "./recipe.ts";
import { runCommand } from "./run-command.ts";

const SIZE_BYTES = 1024 * 1024;
const SECTOR_BYTES = 512;
const SAYS = "idle guest\r\n\0";

/** Real mode, from 0x7c00: says `SAYS` by the BIOS' call for the first serial port (int 14h), and halts for good. */
const PROGRAM = [
  ...[0x31, 0xc0, 0x8e, 0xd8], // xor ax, ax; mov ds, ax
  ...[0xbe, 0x18, 0x7c], // mov si, SAYS
  ...[0xac, 0x84, 0xc0, 0x74, 0x08], // next: lodsb; test al, al; jz end
  ...[0xb4, 0x01, 0x31, 0xd2, 0xcd, 0x14], // mov ah, 1; xor dx, dx; int 14h
  ...[0xeb, 0xf3], // jmp next
  ...[0xfa, 0xf4, 0xeb, 0xfd], // end: cli; halt: hlt; jmp halt
];

/** A machine whose boot costs nothing: one sector of code on a QCOW2 disk of 1 MiB. For figures of what is around a guest. */
export async function idleGuestDisk(): Promise<string> {
  const recipe = [await hashOfFiles([import.meta.filename])];
  const dir = await cachedDir("idle-guest", recipe, async (making) => {
    const raw = join(making, "idle.raw");
    const sector = Buffer.alloc(SECTOR_BYTES);
    Buffer.from(PROGRAM).copy(sector);
    sector.write(SAYS, PROGRAM.length, "latin1");
    sector.writeUInt16LE(0xaa55, SECTOR_BYTES - 2);
    await writeFile(raw, sector);
    await truncate(raw, SIZE_BYTES);
    const formats = ["-f", "raw", "-O", "qcow2"];
    await runCommand("qemu-img", ["convert", ...formats, raw, join(making, "idle.qcow2")]);
    await rm(raw);
  });
  return join(dir, "idle.qcow2");
}
